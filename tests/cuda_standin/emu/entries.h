// The table of a unit's entry points: arguments come as an array of pointers, as cuLaunchKernel takes them.
#pragma once
#include <cstddef>
#include <utility>
#include <type_traits>
struct CuemuRow {
    const char* name;
    void (*entry)(void**);
    int barriers;
    int (*sizes)(size_t*);
};
template <class... A, size_t... I>
static void cuemu_call(void (*f)(A...), void** a, std::integer_sequence<size_t, I...>) {
    f(*(std::remove_reference_t<A>*)a[I]...);
}
template <class... A>
static void cuemu_call(void (*f)(A...), void** a) {
    cuemu_call(f, a, std::make_index_sequence<sizeof...(A)>{});
}
template <class... A>
static int cuemu_sizes(void (*)(A...), size_t* o) {
    int n = 0;
    ((o[n++] = sizeof(std::remove_reference_t<A>)), ...);
    return n;
}
#define CUEMU_ROW(k, b) {#k, [](void** a) { cuemu_call(k, a); }, b, [](size_t* o) { return cuemu_sizes(k, o); }},
