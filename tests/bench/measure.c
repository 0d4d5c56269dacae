/*
 * Windows of work, by one worker or many, threads or processes, alternating with windows of the floor. One worker is
 * timed by its own processor time, so that a neighbour on the machine costs nothing; many by the wall clock, and
 * a window in which they did not get their processors is tried again.
 */
#include "bench.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCH 512u

static double clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

double now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static void pin(unsigned worker)
{
    cpu_set_t set;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    CPU_ZERO(&set);
    CPU_SET(worker % (unsigned)(processors > 0 ? processors : 1), &set);
    sched_setaffinity(0, sizeof set, &set);
}

/* ---- floor ---- */

static void floor_run(void *context, unsigned worker, uint64_t count)
{
    struct timespec t;
    (void)worker;
    for (uint64_t i = 0; i < count; i++) {
        __atomic_fetch_add((uint64_t *)context, 1, __ATOMIC_SEQ_CST);
        clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    }
}

static const struct work *floor_work(void)
{
    static uint64_t word __attribute__((aligned(128)));
    static const struct work work = {floor_run, &word, 0};
    return &work;
}

/* ---- one worker ---- */

/* Operations that fill a window. The first ones are not timed: tables are built in them. */
static uint64_t calibrate(const struct work *work, double window_ns)
{
    work->run(work->context, 0, 64);
    for (uint64_t count = 64;; count *= 4) {
        double from = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        work->run(work->context, 0, count);
        double took = clock_ns(CLOCK_THREAD_CPUTIME_ID) - from;
        if (took > window_ns / 8) return (uint64_t)((double)count * window_ns / took) + 1;
    }
}

static double window_alone(const struct work *work, uint64_t count)
{
    double from = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    work->run(work->context, 0, count);
    return (clock_ns(CLOCK_THREAD_CPUTIME_ID) - from) / (double)count;
}

double floor_ns(void)
{
    uint64_t count = calibrate(floor_work(), 2e6);
    double best = 1e9;
    for (int i = 0; i < 9; i++) {
        double ns = window_alone(floor_work(), count);
        if (ns < best) best = ns;
    }
    return best;
}

/* ---- many workers ---- */

struct seat {
    uint64_t done;
    double cpu_ns;
    char pad[112];
};

struct hall {
    uint32_t ready, go, stop;
    struct seat seat[MAX_WORKERS];
};

struct job {
    struct hall *hall;
    const struct work *work;
    unsigned worker;
};

static void labour(struct hall *hall, const struct work *work, unsigned worker)
{
    pin(worker);
    work->run(work->context, worker, BATCH); /* thread records, first pages */
    __atomic_fetch_add(&hall->ready, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&hall->go, __ATOMIC_ACQUIRE)) sched_yield();
    double from = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    uint64_t done = 0;
    for (; !__atomic_load_n(&hall->stop, __ATOMIC_ACQUIRE); done += BATCH) work->run(work->context, worker, BATCH);
    hall->seat[worker].cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - from;
    hall->seat[worker].done = done;
}

static void *labour_thread(void *argument)
{
    struct job *job = argument;
    labour(job->hall, job->work, job->worker);
    return NULL;
}

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static pid_t labour_process(struct hall *hall, const struct work *work, unsigned worker)
{
    pid_t child = fork();
    if (child < 0) die("fork");
    if (child) return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    labour(hall, work, worker);
    _exit(0);
}

/* ns by the wall clock of one operation of all; *share: how much of the processors they got. */
static double window_together(const struct work *work, unsigned workers, bool processes, double *share)
{
    struct hall *hall = mmap(NULL, sizeof *hall, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_t thread[MAX_WORKERS];
    pid_t child[MAX_WORKERS];
    struct job job[MAX_WORKERS];
    if (hall == MAP_FAILED) die("mmap");
    for (unsigned i = 0; i < workers; i++) {
        job[i] = (struct job){hall, work, i};
        if (processes) child[i] = labour_process(hall, work, i);
        else if (pthread_create(&thread[i], NULL, labour_thread, &job[i])) die("pthread_create");
    }
    while (__atomic_load_n(&hall->ready, __ATOMIC_ACQUIRE) < workers) usleep(200);
    double from = now_ns(), cpu = 0, processors = (double)sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t done = 0;
    __atomic_store_n(&hall->go, 1, __ATOMIC_RELEASE);
    usleep((useconds_t)(settings.window_ms * 1000 * (workers > processors ? 4 : 1)));
    __atomic_store_n(&hall->stop, 1, __ATOMIC_RELEASE);
    double took = now_ns() - from;
    for (unsigned i = 0; i < workers; i++) {
        if (processes) waitpid(child[i], NULL, 0);
        else pthread_join(thread[i], NULL);
        done += hall->seat[i].done;
        cpu += hall->seat[i].cpu_ns;
    }
    if (processors > workers) processors = workers;
    *share = cpu / (took * processors);
    munmap(hall, sizeof *hall);
    return took / (double)(done ? done : 1);
}

/* ---- line transfer ---- */

struct court {
    uint32_t ball __attribute__((aligned(128)));
    uint32_t hits;
};

static void *player(void *argument)
{
    struct court *court = argument;
    pin(1);
    for (uint32_t i = 0; i < court->hits; i++) {
        for (uint32_t tries = 0; __atomic_load_n(&court->ball, __ATOMIC_ACQUIRE) != 1; tries++)
            if (tries > 20000) sched_yield();
        __atomic_store_n(&court->ball, 0, __ATOMIC_RELEASE);
    }
    return NULL;
}

double line_transfer(void)
{
    struct court court = {.hits = 2000};
    double best = 1e9;
    cpu_set_t before;
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2) return 0;
    sched_getaffinity(0, sizeof before, &before);
    for (int i = 0; i < 3; i++) {
        pthread_t other;
        if (pthread_create(&other, NULL, player, &court)) die("pthread_create");
        pin(0);
        double from = now_ns();
        for (uint32_t k = 0; k < court.hits; k++) {
            __atomic_store_n(&court.ball, 1, __ATOMIC_RELEASE);
            for (uint32_t tries = 0; __atomic_load_n(&court.ball, __ATOMIC_ACQUIRE) != 0; tries++)
                if (tries > 20000) sched_yield();
        }
        double ns = (now_ns() - from) / court.hits / 2;
        if (ns < best) best = ns;
        pthread_join(other, NULL);
    }
    sched_setaffinity(0, sizeof before, &before);
    return best;
}

const char *line_class(double ns)
{
    return ns <= 0 ? "-" : ns < 24 ? "S" : ns < 80 ? "C" : "X";
}

/* ---- rounds ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void summarise(double *values, unsigned count, double *best, double *median)
{
    qsort(values, count, sizeof *values, by_value);
    *best = values[0];
    *median = values[count / 2];
}

static double try_together(const struct work *work, unsigned workers, bool processes, bool *dirty)
{
    double best_share = 0, ns = 0;
    for (int tries = 0; tries < 4 && best_share < 0.9; tries++) {
        double share, value = window_together(work, workers, processes, &share);
        if (share > best_share) {
            best_share = share;
            ns = value;
        }
    }
    if (best_share < 0.9) *dirty = true;
    return ns;
}

/* One window of work between two of the floor. Where one of those is a sixth above the best of this run, a neighbour had a
 * part of the processor, or its clock was lower: that says little of the work, and is tried again. False when it stayed so. */
static bool pair_alone(const struct work *work, uint64_t count, uint64_t floor_count, double *value, double *base)
{
    static double best = 1e9;
    for (int tries = 0; tries < 8; tries++) {
        double before = window_alone(floor_work(), floor_count);
        *value = window_alone(work, count);
        double after = window_alone(floor_work(), floor_count);
        *base = (before + after) / 2;
        if (before < best) best = before;
        if (after < best) best = after;
        if (before < best * 7 / 6 && after < best * 7 / 6) return true;
    }
    return false;
}

struct figure measure(const struct work *work, unsigned workers, bool processes)
{
    struct figure figure = {.class = "-"};
    double value[MAX_ROUNDS], base[MAX_ROUNDS], ratio[MAX_ROUNDS], ignored;
    unsigned rounds = settings.rounds < MAX_ROUNDS ? settings.rounds : MAX_ROUNDS;
    uint64_t floor_count = calibrate(floor_work(), settings.window_ms * 3e5), count = 0;
    bool alone = workers == 1 && !processes;
    unsigned unsteady = 0;
    if (alone) count = calibrate(work, settings.window_ms * 1e6);
    if (count < work->least) count = work->least;
    for (unsigned i = 0; i < rounds; i++) {
        if (alone) {
            unsteady += !pair_alone(work, count, floor_count, &value[i], &base[i]);
            ratio[i] = value[i] / base[i];
            continue;
        }
        base[i] = window_alone(floor_work(), floor_count);
        const char *before = workers == 2 ? line_class(line_transfer()) : "-";
        value[i] = try_together(work, workers, processes, &figure.dirty);
        ratio[i] = value[i] / base[i];
        const char *after = workers == 2 ? line_class(line_transfer()) : "-";
        const char *class = before == after || !strcmp(before, after) ? before : "mix";
        if (i == 0) snprintf(figure.class, sizeof figure.class, "%s", class);
        else if (strcmp(figure.class, class)) snprintf(figure.class, sizeof figure.class, "mix");
    }
    if (unsteady > rounds / 2) figure.dirty = true;
    summarise(value, rounds, &figure.best, &figure.median);
    summarise(base, rounds, &figure.floor_best, &ignored);
    summarise(ratio, rounds, &ignored, &figure.ratio);
    return figure;
}
