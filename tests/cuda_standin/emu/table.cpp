#include "cuemu.h"
#include "entries.h"
thread_local CuThread cuemu;
extern "C" void cuemu_set_thread(const CuThread* t) { cuemu = *t; }
#define X(i) extern "C" const CuemuRow cuemu_rows_##i[];
#include "units.inc"
#undef X
static const CuemuRow* const units[] = {
#define X(i) cuemu_rows_##i,
#include "units.inc"
#undef X
    nullptr};
extern "C" int cuemu_lookup(const char* name, void (**entry)(void**), int* barriers, size_t* sizes) {
    for (auto unit = units; *unit; ++unit)
        for (auto row = *unit; row->name; ++row)
            if (!strcmp(row->name, name)) {
                *entry = row->entry;
                *barriers = row->barriers;
                return row->sizes(sizes);
            }
    return -1;
}

// Barriers by number, `file:line:column` each, and which one is left out: CUDA_STANDIN_WITHOUT.
#include <cstdlib>
#define B(place) #place,
static const char* const barriers[] = {
#include "barriers.inc"
    nullptr};
#undef B
extern "C" {
int cuemu_without = [] {
    const char* number = std::getenv("CUDA_STANDIN_WITHOUT");
    return number ? std::atoi(number) : -1;
}();
__attribute__((visibility("default"))) const char* cuemu_barrier(int number) {
    for (int i = 0; barriers[i]; ++i)
        if (i == number) return barriers[i];
    return nullptr;
}
}
