/*
 * Error numbers, names and the per-thread detail text. Owns the text; calls nothing of gyre.
 */
#include "ascii.h"
#include "pool.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static __thread char detail[320];

int gyre__fail(int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    return error;
}

GYRE_API const char *gyre_detail(void)
{
    return detail;
}

GYRE_API const char *gyre_strerror(int error)
{
    switch (error) {
#define XX(name, number, text) case number: return text;
        GYRE_ERRNO_MAP(XX)
#undef XX
    default: return error < 0 ? "unknown error" : "no error";
    }
}

GYRE_API const char *gyre_error_name(int error)
{
    static __thread char name[16];
    const char *upper = "unknown";
    switch (error) {
#define XX(word, number, text) case number: upper = #word; break;
        GYRE_ERRNO_MAP(XX)
#undef XX
    default: break;
    }
    snprintf(name, sizeof name, "%s", upper);
    for (char *c = name; *c; c++) *c = ascii_lower(*c);
    return name;
}

GYRE_API const char *gyre_version(void)
{
    return GYRE_VERSION;
}

GYRE_API int gyre_abi(void)
{
    return GYRE_ABI;
}

GYRE_API int gyre_struct_size(const char *name)
{
    static const struct {
        const char *name;
        int size;
    } sizes[] = {
#define SIZE(tag) {#tag, (int)sizeof(struct gyre_##tag)}
        SIZE(options), SIZE(proxy_spec), SIZE(slot),  SIZE(proxy),   SIZE(stats),
        SIZE(request), SIZE(lease),      SIZE(outcome), SIZE(url),
        SIZE(session), SIZE(session_stats), SIZE(counter), SIZE(decision),
        SIZE(ban),     SIZE(check),  SIZE(strategy), SIZE(throttle), SIZE(window_note), SIZE(books),
#undef SIZE
    };
    for (size_t i = 0; name && i < sizeof sizes / sizeof *sizes; i++)
        if (!strcmp(name, sizes[i].name)) return sizes[i].size;
    return gyre__fail(GYRE_ENOT_FOUND, "no struct gyre_%.40s", name ? name : "(null)");
}
