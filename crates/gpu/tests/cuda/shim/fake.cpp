// NVIDIA's driver on the host: the functions that `cuda.rs` calls, of which it makes one card. Kernels run by their names
// when a graph is launched, in blocks of other sizes and the other order each time; so an image may be anything.
//
// Before each call that can fail the process's own file of faults is read, a line `CALL OUTCOME N`: of the calls of that
// name, since the device was opened last and the file changed, N go well, and those after them have the outcome. `lost` and
// `hang` stay with the device until it is opened again: of one that hangs runs do not end, and who frees what it may be using
// ends the process. `full` is the lack of memory. What is left when a context goes ends the process too.
#include "run.h"
#include <map>
#include <mutex>
#include <stdio.h>
#include <stdlib.h>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

const int SUCCESS = 0, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, NOT_FOUND = 500, NOT_READY = 600, LAUNCH_FAILED = 719;
const size_t PAGE_BYTES = 4096, CARD_BYTES = (size_t)8 << 30;
const uint32_t BLOCK_SIZES[] = {32, 256, 64};

struct Context {
    uint32_t num_buffers = 0, num_others = 0;
};
struct Node {
    const Entry* kernel; // none: a copy
    Dimensions grid;
    std::vector<uint64_t> values;
    char *to, *from;
    size_t bytes;
};
struct Graph {
    std::vector<Node> nodes;
};
struct Stream {
    Graph* capturing;
};
struct Allocation {
    char* pages;
    size_t bytes, room;
    Context* of;
};

static std::mutex one_at_a_time;
static std::map<char*, Allocation> allocations;
static size_t held_bytes;
static uint64_t launches;
// Of the device that was opened last.
static std::map<std::string, uint64_t> calls;
static std::string faults;
static bool is_lost, hangs;
static thread_local Context* current;

[[noreturn]] static void give_up(const char* what) {
    fprintf(stderr, "fake CUDA: %s\n", what);
    abort();
}

// The code that a call is answered with, if it is not to go well.
static int fault(const char* call) {
    std::string text;
    if (FILE* file = fopen((FAULTS_FILE "." + std::to_string(getpid())).c_str(), "r")) {
        char part[4096];
        while (size_t count = fread(part, 1, sizeof part, file)) text.append(part, count);
        fclose(file);
    }
    if (text != faults) {
        calls.clear();
        faults = text;
    }
    uint64_t count = ++calls[call];
    for (size_t start = 0; start < text.size();) {
        size_t end = text.find('\n', start);
        if (end == std::string::npos) end = text.size();
        std::string line = text.substr(start, end - start);
        char name[32], outcome[32];
        unsigned long long well;
        if (sscanf(line.c_str(), "%31s %31s %llu", name, outcome, &well) == 3 && call == std::string(name) && count > well) {
            if (outcome == std::string("full")) return OUT_OF_MEMORY;
            if (outcome == std::string("lost")) is_lost = true;
            if (outcome == std::string("hang")) hangs = true;
        }
        start = end + 1;
    }
    return is_lost ? LAUNCH_FAILED : SUCCESS;
}

// Before something is given back.
static void freed(const char* what) {
    if (hangs) give_up((std::string(what) + " is freed under a device that hangs").c_str());
}

static int allocate(char** out, size_t bytes) {
    if (!current) give_up("no context is current");
    if (int code = fault("allocate")) return code;
    if (bytes > CARD_BYTES - held_bytes) return OUT_OF_MEMORY;
    size_t room = (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    char* pages = (char*)mmap(0, room + PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + room, PAGE_BYTES, PROT_NONE)) return OUT_OF_MEMORY;
    // It ends where no memory is, and begins at what a card aligns to where both can be had.
    *out = pages + (room - bytes) / 256 * 256;
    allocations[*out] = {pages, bytes, room, current};
    held_bytes += bytes;
    current->num_buffers++;
    return SUCCESS;
}

static int release(char* at) {
    freed("memory");
    auto found = allocations.find(at);
    if (found == allocations.end()) give_up("what is freed is not a buffer");
    held_bytes -= found->second.bytes;
    found->second.of->num_buffers--;
    munmap(found->second.pages, found->second.room + PAGE_BYTES);
    allocations.erase(found);
    return SUCCESS;
}

static void run(const Node& node) {
    if (!node.kernel) {
        memcpy(node.to, node.from, node.bytes);
        return;
    }
    void* parameters[PARAMETERS_MAX];
    for (size_t i = 0; i < node.values.size(); i++) parameters[i] = (void*)&node.values[i];
    uint64_t launch = launches++;
    run_kernel(node.kernel, node.grid, parameters, BLOCK_SIZES[launch % 3], launch / 3 % 2);
}

#define LOCKED std::lock_guard<std::mutex> locked(one_at_a_time)

extern "C" {
int cuInit(unsigned) { return SUCCESS; }
int cuDriverGetVersion(int* version) { return *version = 13000, SUCCESS; }
int cuGetErrorName(int code, const char** name) {
    *name = code == INVALID_DEVICE ? "CUDA_ERROR_INVALID_DEVICE" : "CUDA_ERROR_OF_THE_FAKE";
    return SUCCESS;
}
int cuDeviceGetCount(int* count) { return *count = 1, SUCCESS; }
int cuDeviceGet(int* device, int ordinal) { return *device = ordinal, SUCCESS; }
int cuDeviceGetName(char* name, int length, int) { return snprintf(name, length, "A card of the tests"), SUCCESS; }
int cuDeviceTotalMem_v2(size_t* bytes, int) { return *bytes = CARD_BYTES, SUCCESS; }
int cuDeviceGetAttribute(int* value, int attribute, int) {
    static const std::map<int, int> values = {{1, 1024}, {5, 0x7fffffff}, {6, 65535}, {7, 65535}, {8, 48 << 10},
                                              {18, 0},   {41, 1},         {75, 9},    {76, 0}};
    *value = values.at(attribute);
    return SUCCESS;
}

int cuCtxCreate_v2(Context** context, unsigned, int) {
    LOCKED;
    calls.clear();
    is_lost = hangs = false;
    if (fault("open")) return INVALID_DEVICE;
    current = *context = new Context;
    return SUCCESS;
}
int cuCtxSetCurrent(Context* context) { return current = context, SUCCESS; }
int cuCtxDestroy_v2(Context* context) {
    LOCKED;
    freed("a context");
    if (context->num_buffers || context->num_others) give_up("something is left of a context");
    if (current == context) current = nullptr;
    delete context;
    return SUCCESS;
}

int cuModuleLoadData(const void** module, const void* image) { return *module = image, SUCCESS; }
int cuModuleGetFunction(const Entry** function, const void*, const char* name) {
    *function = kernel_of(name);
    return *function ? SUCCESS : NOT_FOUND;
}
int cuFuncGetAttribute(int* value, int, const Entry* function) { return *value = function->threads, SUCCESS; }

int cuMemAlloc_v2(char** address, size_t bytes) {
    LOCKED;
    return allocate(address, bytes);
}
int cuMemHostAlloc(char** address, size_t bytes, unsigned) {
    LOCKED;
    return allocate(address, bytes);
}
int cuMemFree_v2(char* address) {
    LOCKED;
    return release(address);
}
int cuMemFreeHost(char* address) {
    LOCKED;
    return release(address);
}

int cuStreamCreate(Stream** stream, unsigned) { return *stream = new Stream{}, SUCCESS; }
int cuStreamBeginCapture_v2(Stream* stream, int) {
    LOCKED;
    if (stream->capturing) give_up("a stream captures already");
    if (int code = fault("record")) return code;
    stream->capturing = new Graph;
    return SUCCESS;
}
int cuStreamEndCapture(Stream* stream, Graph** graph) {
    if (!stream->capturing) give_up("no stream captures");
    *graph = stream->capturing;
    stream->capturing = nullptr;
    return SUCCESS;
}
int cuLaunchKernel(
    const Entry* kernel, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned, unsigned, unsigned, Stream* stream,
    void** parameters, void**)
{
    if (!stream->capturing || threads != kernel->threads) give_up("a launch of other threads, or that is not captured");
    Node node = {kernel, {x, y, z}, {}, nullptr, nullptr, 0};
    // The driver knows by the kernel how large each is; those of four bytes are read with what is behind them.
    for (uint32_t i = 0; i < kernel->num_parameters; i++) {
        uint64_t value = 0;
        memcpy(&value, parameters[i], kernel->bytes[i]);
        node.values.push_back(value);
    }
    stream->capturing->nodes.push_back(node);
    return SUCCESS;
}
int cuMemcpyAsync(char* to, char* from, size_t bytes, Stream* stream) {
    if (!stream->capturing) give_up("a copy that is not captured");
    stream->capturing->nodes.push_back({nullptr, {}, {}, to, from, bytes});
    return SUCCESS;
}

int cuGraphInstantiateWithFlags(Graph** runnable, Graph* graph, unsigned long long) {
    LOCKED;
    current->num_others++;
    *runnable = new Graph(*graph);
    return SUCCESS;
}
int cuGraphDestroy(Graph* graph) { return delete graph, SUCCESS; }
int cuGraphExecDestroy(Graph* graph) {
    LOCKED;
    freed("a graph");
    current->num_others--;
    delete graph;
    return SUCCESS;
}
int cuGraphLaunch(Graph* graph, Stream*) {
    LOCKED;
    if (int code = fault("submit")) return code;
    for (const Node& node : graph->nodes) run(node);
    return SUCCESS;
}

int cuEventCreate(bool** event, unsigned) {
    LOCKED;
    current->num_others++;
    *event = new bool(false);
    return SUCCESS;
}
int cuEventRecord(bool* event, Stream*) { return *event = true, SUCCESS; }
int cuEventQuery(bool* event) {
    LOCKED;
    if (!*event) give_up("an event that was never set");
    int code = fault("wait");
    return hangs ? NOT_READY : code;
}
int cuEventDestroy_v2(bool* event) {
    LOCKED;
    freed("an event");
    current->num_others--;
    delete event;
    return SUCCESS;
}
}
