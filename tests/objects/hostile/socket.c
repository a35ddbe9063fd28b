/* The job's socket, used in ways the worker does not, one a function: chosen by `_symbol`. */
#include "attack.h"

static u8 scratch[65536];

static void shut(void) { must(call(48, 3, 1, 0, 0, 0, 0)); }

/* Row 54: nothing more comes, and yet it is not over. */

void shut_and_spin(void)
{
    shut();
    for (;;)
        ;
}

void shut_and_wait(void)
{
    shut();
    for (;;)
        call(0, 3, (u64)scratch, sizeof scratch, 0, 0, 0);
}

void shut_and_return(void) { shut(); }

void shut_and_fault(void)
{
    shut();
    *(volatile u8 *)0 = 0;
}

void shut_and_call(void)
{
    shut();
    call(39, NOTHING);
}

/* Row 55: reads and writes without end or sense. */

void wait_for_a_job(void)
{
    for (;;)
        call(0, 3, (u64)scratch, sizeof scratch, 0, 0, 0);
}

void read_over_text(void)
{
    /* The kernel does not write there either; there is nothing to read, so it waits. */
    call(0, 3, (u64)&read_over_text, 64, 0, 0, 0);
}

void write_nothing_for_ever(void)
{
    for (;;)
        call(1, 3, 0, 0, 0, 0, 0);
}

void write_kernel_for_ever(void)
{
    for (;;)
        call(1, 3, 0xffff800000000000, 64, 0, 0, 0);
}

void write_a_byte_and_spin(void)
{
    call(1, 3, (u64) "W", 1, 0, 0, 0);
    for (;;)
        ;
}

void write_a_byte_and_fault(void)
{
    call(1, 3, (u64) "W", 1, 0, 0, 0);
    *(volatile u8 *)0 = 0;
}

void write_a_byte_and_return(void) { call(1, 3, (u64) "W", 1, 0, 0, 0); }

void write_scratch_for_ever(void)
{
    for (;;)
        call(1, 3, (u64)scratch, sizeof scratch, 0, 0, 0);
}

void start_counters_for_ever(void)
{
    for (u64 i = 0;; i++)
        call(16, 4 + i % 98, 0x2400 + (i & 1), 0, 0, 0, 0);
}
