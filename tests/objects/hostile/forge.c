/* Sends a reply that the test put into `frame`, with the number of this very job where the test left room for one.
 *
 * What is found by the look of it: the job lies in the worker's memory as it came, behind its header. */
#include "attack.h"

#define PAGE 4096UL
#define ROOM 16384

/* Found by its first two words in the object's file, and filled in there. */
static volatile struct {
    u64 mark[2];
    /* Bytes of the frame. */
    u64 length;
    /* 0 ends, 1 spins, 2 returns, 3 sends the same again for ever, 4 says that this was all and spins. */
    u64 then;
    u8 bytes[ROOM];
} frame = {{0x6d61726665687421, 0x2165726568656d61}, 0, 0, {1}};

/* The job's number, in the nine bytes that encode it: a mark and eight bytes. */
static const u8 *number(const u8 *after_call)
{
    if (after_call[0] == 0x0f)
        after_call += 3;
    u64 page = (u64)(after_call + 7 + *(const int *)(after_call + 3)) & ~(PAGE - 1);
    while (*(const u32 *)page != 0x626a5257)
        page += PAGE;
    const u8 *job = (const u8 *)page + 14;
    if (job[0] != 253)
        end(FAILED);
    return job;
}

static void put_number(const u8 *job)
{
    for (u64 at = 0; at + 9 <= frame.length; at++) {
        int is_room = frame.bytes[at] == 253;
        for (u64 i = 1; i < 9; i++)
            is_room &= frame.bytes[at + i] == 0xa5;
        for (u64 i = 0; is_room && i < 9; i++)
            frame.bytes[at + i] = job[i];
    }
}

void playground(void)
{
    put_number(number((const u8 *)__builtin_return_address(0)));
    do {
        must(call(1, 3, (u64)frame.bytes, frame.length, 0, 0, 0));
    } while (frame.then == 3);
    if (frame.then == 2)
        return;
    if (frame.then == 4)
        must(call(48, 3, 1, 0, 0, 0, 0));
    while (frame.then == 1 || frame.then == 4)
        ;
    end(0);
}
