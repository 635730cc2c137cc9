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
