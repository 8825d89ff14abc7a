// Runs the blocks of a kernel one after the other. A block's threads are fibers: those of a warp run one after the
// other until each waits for the warp or the block, and warps likewise, in ascending or in descending order. So a barrier
// that is missing shows: what a thread reads, the others have not written yet or have written again. Shared memory is
// spoilt before each block, and threads that wait for different things are an error.
#include "run.h"
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

const uint32_t WARP_THREADS = 32;
const size_t STACK_BYTES = 64 << 10;
enum Waiting { READY, FOR_WARP, FOR_BLOCK, DONE };

Entry* Entry::first;
Dimensions threadIdx, blockIdx, blockDim, gridDim;
extern char __start_shared_memory __attribute__((weak)), __stop_shared_memory __attribute__((weak));
static jmp_buf scheduler, fibers[THREADS_MAX];
static ucontext_t first[THREADS_MAX];
static bool has_begun[THREADS_MAX];
static char stacks[THREADS_MAX][STACK_BYTES] __attribute__((aligned(16)));
static Waiting waiting[THREADS_MAX];
static uint32_t given[2][THREADS_MAX], exchanges[THREADS_MAX];
static const Entry* kernel;
static void* const* parameters;
static bool descends;

void fail(const char* what) {
    fprintf(stderr, "%s: %s\n", kernel ? kernel->name : "shim", what);
    exit(3);
}

// To another stack and back. Only the first time by the system's way, which asks the kernel for the mask of signals.
static void yield(uint32_t self) {
    if (!_setjmp(fibers[self])) _longjmp(scheduler, 1);
}
static void resume(uint32_t thread) {
    threadIdx.x = thread;
    if (_setjmp(scheduler)) return;
    if (has_begun[thread]) _longjmp(fibers[thread], 1);
    has_begun[thread] = true;
    setcontext(&first[thread]);
}

static void wait(Waiting what) {
    uint32_t self = threadIdx.x;
    waiting[self] = what;
    yield(self);
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
    for (;;) {
        kernel->call(kernel->kernel, {parameters});
        wait(DONE);
    }
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
            resume(t);
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
        if (has_begun[t]) continue;
        getcontext(&first[t]);
        first[t].uc_stack.ss_sp = stacks[t];
        first[t].uc_stack.ss_size = STACK_BYTES;
        makecontext(&first[t], fiber, 0);
    }
    for (;;) {
        for (uint32_t i = 0; i < warps; i++) run_warp((descends ? warps - 1 - i : i) * WARP_THREADS);
        uint32_t done = count(DONE, 0, threads);
        if (done == threads) return;
        if (done > 0) fail("a block waits for threads that are done");
        for (uint32_t t = 0; t < threads; t++) waiting[t] = READY;
    }
}

const Entry* kernel_of(const char* name) {
    const Entry* found = Entry::first;
    while (found && strcmp(found->name, name)) found = found->next;
    return found;
}

void run_kernel(const Entry* of, Dimensions grid, void* const* values, uint32_t threads, bool in_descending_order) {
    kernel = of;
    parameters = values;
    descends = in_descending_order;
    gridDim = grid;
    blockDim = {threads < of->threads ? threads : of->threads, 1, 1};
    for (blockIdx.z = 0; blockIdx.z < grid.z; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < grid.y; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x++) run_block();
}
