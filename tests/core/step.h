/*
 * Kills a child, or disturbs a call, at a chosen instruction. The child runs a function with the processor's trap flag set, so that
 * after every instruction, in the library, in libc, in the kernel's vdso, it traps into a handler that counts, and
 * at the wanted count kills itself with SIGKILL. That is the literal reading of "a process killed at any
 * instruction". Instead of dying it may run another function there, as another thread might just then. x86-64 only.
 */
#ifndef GYRE_TEST_STEP_H
#define GYRE_TEST_STEP_H

#include <stdint.h>

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CAN_STEP 1
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { TRAP_FLAG = 0x100 };

static volatile uint64_t steps_done, steps_wanted;
static volatile int stepping;
static int (*step_watch)(void);      /* is this the moment? Asked after each instruction, where there is no count */
static void (*step_disturb)(void *); /* what to do at that count instead of dying */
static void *step_disturb_argument;

static void on_trap(int number, siginfo_t *info, void *context)
{
    ucontext_t *user = context;

    (void)number, (void)info;
    if (++steps_done == steps_wanted || (step_watch && step_watch())) {
        if (!step_disturb) syscall(SYS_kill, getpid(), SIGKILL);
        stepping = 0;
        step_disturb(step_disturb_argument);
    }
    if (stepping)
        user->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
    else
        user->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
}

/* Runs `act`; the process dies after `kill_at` instructions of it (0: never). Returns how many there were. */
static uint64_t step_through(void (*act)(void *), void *argument, uint64_t kill_at)
{
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};

    sigaction(SIGTRAP, &action, NULL);
    steps_done = 0;
    steps_wanted = kill_at;
    stepping = 1;
    raise(SIGTRAP);
    act(argument);
    stepping = 0;
    return steps_done;
}

/* Runs `act`, and `disturb` after `at` instructions of it. `act` must hold no lock that `disturb` wants. */
static inline void step_and_disturb(void (*act)(void *), void *argument, uint64_t at, void (*disturb)(void *), void *other)
{
    step_disturb = disturb;
    step_disturb_argument = other;
    step_through(act, argument, at);
    step_disturb = NULL;
}
#else
#define CAN_STEP 0
static int stepping __attribute__((unused));
static int (*step_watch)(void) __attribute__((unused));
static inline void step_and_disturb(void (*act)(void *), void *argument, uint64_t at, void (*disturb)(void *), void *other)
{
    (void)at;
    act(argument);
    disturb(other);
}
static uint64_t step_through(void (*act)(void *), void *argument, uint64_t kill_at)
{
    (void)kill_at;
    act(argument);
    return 0;
}
#endif

#endif
