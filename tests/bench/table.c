/*
 * Output: a table for people, and the same rows as lines "bench<TAB>..." for programs, on stdout.
 */
#include "bench.h"

#include <stdio.h>
#include <string.h>

enum { MAX_PROMISES = 256 };

static struct {
    char text[120];
    double value, limit;
    bool at_least;
} kept[MAX_PROMISES];
static unsigned promises, rows;

bool wanted(const char *what, const char *variant)
{
    char name[128];
    snprintf(name, sizeof name, "%s %s", what, variant);
    return !settings.only || strstr(name, settings.only);
}

void table_row(const char *what, const char *variant, uint32_t n, unsigned workers, bool processes, struct figure f)
{
    const char *unit = processes ? "processes" : "threads";
    printf("%-18s %-14s %8u %4u %-9s %8.1f %8.1f %8.2f  %s%s\n", what, variant, n, workers, unit, f.best, f.median, f.ratio, f.class,
           f.dirty ? "*" : "");
    printf("bench\t%s\t%s\tn=%u\t%s=%u\tns=%.2f\tmedian=%.2f\tratio=%.3f\tfloor=%.2f\tclass=%s\tclean=%d\n", what, variant, n,
           unit, workers, f.best, f.median, f.ratio, f.floor_best, f.class, !f.dirty);
    fflush(stdout);
    rows++;
}

unsigned table_rows(void)
{
    return rows;
}

void table_skip(const char *what, const char *variant, const char *why)
{
    printf("%-18s %-14s not measured: %s\n", what, variant, why);
}

void table_memory(const char *what, double bytes)
{
    rows++;
    printf("%-33s %12.1f bytes resident\nbench\tmemory\t%s\tbytes=%.1f\n", what, bytes, what, bytes);
}

void promise(const char *text, double value, double limit, bool at_least)
{
    if (promises == MAX_PROMISES) return;
    snprintf(kept[promises].text, sizeof kept[promises].text, "%s", text);
    kept[promises].value = value;
    kept[promises].limit = limit;
    kept[promises++].at_least = at_least;
}

unsigned promises_print(void)
{
    unsigned missed = 0;
    printf("\nPromises:\n");
    for (unsigned i = 0; i < promises; i++) {
        bool ok = kept[i].at_least ? kept[i].value >= kept[i].limit : kept[i].value <= kept[i].limit;
        const char *word = kept[i].at_least ? "at least" : "at most", *verdict = ok ? "OK" : "MISSED";
        missed += !ok;
        printf("%-6s  %-66s %8.2f, %s %g\n", verdict, kept[i].text, kept[i].value, word, kept[i].limit);
        printf("promise\t%s\t%s\tvalue=%.3f\tlimit=%g\n", verdict, kept[i].text, kept[i].value, kept[i].limit);
    }
    return missed;
}
