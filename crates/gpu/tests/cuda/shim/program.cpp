// Runs kernels over buffers and gives the buffers back, of which each ends where no memory is.
//
// stdin, in words: the number of buffers, and of each its bytes and contents; the number of dispatches, and of each the
// length of its name, its name, its grid, the number of its buffers and which, the number of its constants and which; the
// number of runs, and of each its threads (at most a kernel's own) and whether it descends. stdout: for each run all buffers.
#include "run.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

const uint32_t BUFFERS_MAX = 32, DISPATCHES_MAX = 16;
const size_t PAGE_BYTES = 4096;

static void read_all(void* to, size_t bytes) {
    if (fread(to, 1, bytes, stdin) != bytes) fail("stdin ends too early");
}
static uint32_t read_word(uint32_t most) {
    uint32_t word;
    read_all(&word, sizeof word);
    if (word > most) fail("a number is too large");
    return word;
}

struct Buffer {
    uint32_t bytes;
    char *before, *now;
};
struct Dispatch {
    char name[64];
    Dimensions grid;
    uint32_t num_buffers, buffers[PARAMETERS_MAX], num_constants, constants[PARAMETERS_MAX];
};

static Buffer read_buffer() {
    uint32_t bytes = read_word(1u << 30);
    size_t room = (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    char* pages = (char*)mmap(0, room + PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + room, PAGE_BYTES, PROT_NONE)) fail("no memory");
    Buffer buffer = {bytes, (char*)malloc(bytes), pages + room - bytes};
    read_all(buffer.before, bytes);
    return buffer;
}

static Dispatch read_dispatch(uint32_t num_buffers) {
    Dispatch d = {};
    read_all(d.name, read_word(sizeof d.name - 1));
    read_all(&d.grid, sizeof d.grid);
    d.num_buffers = read_word(PARAMETERS_MAX / 2);
    for (uint32_t i = 0; i < d.num_buffers; i++) d.buffers[i] = read_word(num_buffers - 1);
    d.num_constants = read_word(PARAMETERS_MAX / 2);
    read_all(d.constants, d.num_constants * sizeof(uint32_t));
    return d;
}

static void run(Dispatch& d, Buffer* buffers, uint32_t threads, bool descends) {
    void* parameters[PARAMETERS_MAX];
    for (uint32_t i = 0; i < d.num_buffers; i++) parameters[i] = &buffers[d.buffers[i]].now;
    for (uint32_t i = 0; i < d.num_constants; i++) parameters[d.num_buffers + i] = &d.constants[i];
    const Entry* kernel = kernel_of(d.name);
    if (!kernel) fail(d.name);
    if (kernel->num_parameters != d.num_buffers + d.num_constants) fail("takes another number of parameters");
    run_kernel(kernel, d.grid, parameters, threads, descends);
}

int main() {
    static Buffer buffers[BUFFERS_MAX];
    static Dispatch dispatches[DISPATCHES_MAX];
    uint32_t num_buffers = read_word(BUFFERS_MAX);
    for (uint32_t i = 0; i < num_buffers; i++) buffers[i] = read_buffer();
    uint32_t num_dispatches = read_word(DISPATCHES_MAX);
    for (uint32_t i = 0; i < num_dispatches; i++) dispatches[i] = read_dispatch(num_buffers);
    for (uint32_t runs = read_word(1000); runs > 0; runs--) {
        uint32_t threads = read_word(THREADS_MAX);
        bool descends = read_word(1);
        for (uint32_t i = 0; i < num_buffers; i++) memcpy(buffers[i].now, buffers[i].before, buffers[i].bytes);
        for (uint32_t i = 0; i < num_dispatches; i++) run(dispatches[i], buffers, threads, descends);
        for (uint32_t i = 0; i < num_buffers; i++) fwrite(buffers[i].now, 1, buffers[i].bytes, stdout);
    }
    return 0;
}
