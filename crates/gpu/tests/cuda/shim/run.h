// Running a kernel, block by block.
#pragma once
#include "shim.h"

const uint32_t THREADS_MAX = 256, PARAMETERS_MAX = 32;

// Ends the process; `what` is what the kernel that runs did.
[[noreturn]] void fail(const char* what);

// The kernel of a name, or none.
const Entry* kernel_of(const char* name);

// All blocks, of so many threads but at most the kernel's own; `descends` is their order. Parameters are given by their
// addresses.
void run_kernel(const Entry* kernel, Dimensions grid, void* const* parameters, uint32_t threads, bool descends);
