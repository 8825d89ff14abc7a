// Runs kernels over buffers and gives the buffers back. A block's threads are fibers: those of a warp run one after the
// other until each waits for the warp or the block, and warps likewise, in ascending or in descending order. So a barrier
// that is missing shows: what a thread reads, the others have not written yet or have written again. Shared memory is
// spoilt before each block, a buffer ends where no memory is, and threads that wait for different things are an error.
//
// stdin, in words: the number of buffers, and of each its bytes and contents; the number of dispatches, and of each the
// length of its name, its name, its grid, the number of its buffers and which, the number of its constants and which; the
// number of runs, and of each its threads (at most a kernel's own) and whether it descends. stdout: for each run all buffers.
#include "shim.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

const uint32_t WARP_THREADS = 32, THREADS_MAX = 256, PARAMETERS_MAX = 32, BUFFERS_MAX = 32, DISPATCHES_MAX = 16;
const size_t STACK_BYTES = 64 << 10, PAGE_BYTES = 4096;
enum Waiting { READY, FOR_WARP, FOR_BLOCK, DONE };

Entry* Entry::first;
Dimensions threadIdx, blockIdx, blockDim, gridDim;
extern char __start_shared_memory __attribute__((weak)), __stop_shared_memory __attribute__((weak));
static ucontext_t scheduler, fibers[THREADS_MAX];
static char stacks[THREADS_MAX][STACK_BYTES] __attribute__((aligned(16)));
static Waiting waiting[THREADS_MAX];
static uint32_t given[2][THREADS_MAX], exchanges[THREADS_MAX];
static const Entry* kernel;
static void* parameters[PARAMETERS_MAX];
static bool descends;

[[noreturn]] static void fail(const char* what) {
    fprintf(stderr, "%s: %s\n", kernel ? kernel->name : "shim", what);
    exit(3);
}

static void wait(Waiting what) {
    uint32_t self = threadIdx.x;
    waiting[self] = what;
    swapcontext(&fibers[self], &scheduler);
}
void block_barrier() { wait(FOR_BLOCK); }

// Two places in turn: who is at the next exchange has read the one before, and nobody is at the one after.
const uint32_t* exchange(uint32_t mine) {
    uint32_t* of_block = given[exchanges[threadIdx.x]++ % 2];
    of_block[threadIdx.x] = mine;
    wait(FOR_WARP);
    return of_block + threadIdx.x / WARP_THREADS * WARP_THREADS;
}

static void fiber() {
    kernel->call(kernel->kernel, {parameters});
    waiting[threadIdx.x] = DONE;
    setcontext(&scheduler);
}

static uint32_t count(Waiting what, uint32_t first, uint32_t end) {
    uint32_t found = 0;
    for (uint32_t t = first; t < end; t++) found += waiting[t] == what;
    return found;
}

// Until all threads of a warp wait for the block or are done.
static void run_warp(uint32_t first) {
    uint32_t end = first + WARP_THREADS;
    for (;;) {
        for (uint32_t i = 0; i < WARP_THREADS; i++) {
            uint32_t t = descends ? end - 1 - i : first + i;
            if (waiting[t] != READY) continue;
            threadIdx.x = t;
            swapcontext(&scheduler, &fibers[t]);
        }
        uint32_t together = count(FOR_WARP, first, end);
        if (together == 0) return;
        if (together < WARP_THREADS) fail("a warp waits for threads that do not come");
        for (uint32_t t = first; t < end; t++) waiting[t] = READY;
    }
}

static void run_block() {
    uint32_t threads = blockDim.x, warps = threads / WARP_THREADS;
    if (&__start_shared_memory) memset(&__start_shared_memory, 0xff, &__stop_shared_memory - &__start_shared_memory);
    for (uint32_t t = 0; t < threads; t++) {
        waiting[t] = READY;
        exchanges[t] = 0;
        getcontext(&fibers[t]);
        fibers[t].uc_stack.ss_sp = stacks[t];
        fibers[t].uc_stack.ss_size = STACK_BYTES;
        makecontext(&fibers[t], fiber, 0);
    }
    for (;;) {
        for (uint32_t i = 0; i < warps; i++) run_warp((descends ? warps - 1 - i : i) * WARP_THREADS);
        uint32_t done = count(DONE, 0, threads);
        if (done == threads) return;
        if (done > 0) fail("a block waits for threads that are done");
        for (uint32_t t = 0; t < threads; t++) waiting[t] = READY;
    }
}

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

static void run(Dispatch& d, Buffer* buffers, uint32_t threads) {
    kernel = Entry::first;
    while (kernel && strcmp(kernel->name, d.name)) kernel = kernel->next;
    if (!kernel) fail(d.name);
    if (kernel->num_parameters != d.num_buffers + d.num_constants) fail("takes another number of parameters");
    for (uint32_t i = 0; i < d.num_buffers; i++) parameters[i] = &buffers[d.buffers[i]].now;
    for (uint32_t i = 0; i < d.num_constants; i++) parameters[d.num_buffers + i] = &d.constants[i];
    gridDim = d.grid;
    blockDim = {threads < kernel->threads ? threads : kernel->threads, 1, 1};
    for (blockIdx.z = 0; blockIdx.z < d.grid.z; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < d.grid.y; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < d.grid.x; blockIdx.x++) run_block();
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
        descends = read_word(1);
        for (uint32_t i = 0; i < num_buffers; i++) memcpy(buffers[i].now, buffers[i].before, buffers[i].bytes);
        for (uint32_t i = 0; i < num_dispatches; i++) run(dispatches[i], buffers, threads);
        for (uint32_t i = 0; i < num_buffers; i++) fwrite(buffers[i].now, 1, buffers[i].bytes, stdout);
    }
    return 0;
}
