/* Attacks on the worker's own code and memory, which a function shares.
 *
 * A function is called by the worker's trampoline, and the first instruction there after the call names the statics in which the
 * trampoline keeps its stack pointer. Among the statics after those, the C library's hold the address of the program's headers,
 * which tell the rest. */
#include "attack.h"

#define PAGE 4096UL

struct segment {
    u32 type, rights;
    u64 offset, address, physical, file_bytes, bytes, alignment;
};

struct harness {
    /* Where the executable lies. */
    u64 base;
    /* The trampoline's stack pointer. */
    u64 stack;
    /* Where the trampoline keeps what it needs after a call. */
    u64 statics;
};

#define CALLER ((const u8 *)__builtin_return_address(0))

static u64 scratch[8];

/* How many calls ran so far: a job calls its function often. */
static u32 calls;

static struct harness find(const u8 *after_call)
{
    struct harness found;
    /* A fence where there is one, then `mov [rip + x], rsp`; the next word of the statics is the trampoline's own. */
    if (after_call[0] == 0x0f)
        after_call += 3;
    if (after_call[0] != 0x48 || after_call[1] != 0x89 || after_call[2] != 0x25)
        end(FAILED);
    const u64 *statics = (const u64 *)(after_call + 7 + *(const int *)(after_call + 3));
    found.stack = statics[1];
    found.statics = (u64)statics;
    /* The headers begin 64 bytes after the file does, below the statics and not far. */
    for (const u64 *word = statics;; word++) {
        u64 below = (u64)statics - *word;
        if ((*word & (PAGE - 1)) == 64 && below < 64 << 20 && *(const u32 *)(*word - 64) == 0x464c457f) {
            found.base = *word - 64;
            return found;
        }
    }
}

/* The last mapped segment with these rights (1 execute, 2 write, 4 read). */
static const struct segment *segment(u64 base, u32 rights)
{
    const struct segment *segments = (const struct segment *)(base + 64);
    for (u32 i = *(const u16 *)(base + 56); i-- > 0;)
        if (segments[i].type == 1 && segments[i].rights == rights)
            return &segments[i];
    end(FAILED);
}

static void fill(u64 from, u64 to)
{
    for (volatile u64 *word = (volatile u64 *)from; (u64)word + 8 <= to; word++)
        *word = 0x4141414141414141;
}

/* Everything the worker can write of its executable: its data, the reply, its heap, the stack of its signal handlers. */
static void fill_statics(const u8 *caller)
{
    u64 base = find(caller).base;
    const struct segment *writable = segment(base, 6);
    u64 start = base + writable->address;
    fill((start + 7) & ~7UL, start + writable->bytes);
}

/* Row 10: the clock without a system call, by the vDSO that the C library found when the program started: one of the pages that the
 * statics hold the address of, and itself an executable. Looks at the `argument`th of those; ends with 0 if it is the vDSO. */
void read_vdso(u64 argument)
{
    u64 base = find(CALLER).base;
    const struct segment *writable = segment(base, 6);
    const u64 *word = (const u64 *)((base + writable->address + 7) & ~7UL);
    u64 last = base + writable->address + writable->bytes;
    for (; (u64)(word + 1) <= last; word++) {
        int is_own = base <= *word && *word <= last;
        if ((*word & (PAGE - 1)) == 0 && *word >= 1UL << 32 && *word < 1UL << 47 && !is_own && argument-- == 0)
            end(*(const u32 *)*word == 0x464c457f ? 0 : 1);
    }
    end(FAILED);
}

/* Row 33 */

void write_harness_text(void) { *(volatile u8 *)CALLER = 0xcc; }

void write_harness_constants(void)
{
    u64 base = find(CALLER).base;
    *(volatile u8 *)(base + segment(base, 4)->bytes - 64) = 0xcc;
}

void modify_own_code(void)
{
    volatile u8 *code = (volatile u8 *)&modify_own_code;
    *code = 0xc3;
}

/* Row 34 */

void fill_statics_and_return(void) { fill_statics(CALLER); }

void fill_statics_and_fault(void)
{
    fill_statics(CALLER);
    *(volatile u8 *)0 = 0;
}

void fill_statics_and_call(void)
{
    fill_statics(CALLER);
    tell(call(39, NOTHING));
}

void fill_statics_and_end(void)
{
    fill_statics(CALLER);
    end(0);
}

void fill_stack_and_return(void)
{
    u64 stack = find(CALLER).stack;
    fill(stack - PAGE, stack + PAGE);
}

/* Row 35: ends with how many of the words it looked for were found in the executable and the worker's stack. None of them may be
 * in this object, which lies in the worker's memory too; so they are written down with every bit turned round. */

static volatile u64 turned = -1UL;
static const u64 wanted[2] = {
    ~0x001debc0de0badcaUL, /* what the buffers of the job before hold */
    ~0x62312d7972616e61UL, /* "anary-1b", from the supervisor's environment */
};

static u64 search(u64 from, u64 to)
{
    u64 found = 0, all = turned;
    for (u64 at = from; at + 8 <= to; at++) {
        u64 word = *(const u64 *)at ^ all;
        found += word == wanted[0] || word == wanted[1];
    }
    return found;
}

static u64 search_all(const u8 *caller)
{
    static const u32 rights[3] = {4, 5, 6};
    struct harness harness = find(caller);
    u64 found = 0;
    for (u32 i = 0; i < 3; i++) {
        const struct segment *part = segment(harness.base, rights[i]);
        found += search(harness.base + part->address, harness.base + part->address + part->bytes);
    }
    /* The stack ends where the statics begin, if the worker has it there. */
    u64 statics = (harness.base + segment(harness.base, 6)->address) & ~(PAGE - 1);
    u64 top = statics - harness.stack < 1 << 20 ? statics : (harness.stack | (PAGE - 1)) + 1;
    return found + search(harness.stack, top);
}

void search_for_secrets(void)
{
    u64 found = search_all(CALLER);
    end(found < FAILED ? found : FAILED);
}

/* The same, with something to find: so a search that finds nothing has looked. */
void search_for_planted(void)
{
    struct harness harness = find(CALLER);
    u64 all = turned;
    *(volatile u64 *)(harness.stack + 64) = wanted[0] ^ all;
    const struct segment *writable = segment(harness.base, 6);
    volatile u8 *last = (volatile u8 *)(harness.base + writable->address + writable->bytes - 9);
    for (int i = 0; i < 8; i++)
        last[i] = (u8)((wanted[1] ^ all) >> (8 * i));
    u64 found = search_all(CALLER);
    end(found < FAILED ? found : FAILED);
}

/* Which pages can be read is told by whether the kernel can: of each it can, a byte goes out. Never returns if a page that is the
 * job's own is not among them, so that an end tells that the search was one. */
void search_by_write(void)
{
    u64 own = (u64)&search_by_write & ~(PAGE - 1), seen = 0;
    for (u64 page = 0x10000000; page < 0x70000000; page += PAGE) {
        if (call(1, 3, page, 1, 0, 0, 0) != 1)
            continue;
        seen |= page == own;
        if (page != own && search(page, page + PAGE) != 0)
            for (;;)
                ;
    }
    while (!seen)
        ;
    end(0);
}

/* All there is to read, sent out. */
void dump_statics(void)
{
    u64 base = find(CALLER).base;
    const struct segment *writable = segment(base, 6);
    u64 at = base + writable->address;
    for (u64 left = writable->bytes; left > 0;) {
        u64 bytes = left < 65536 ? left : 65536;
        long sent = must(call(1, 3, at, bytes, 0, 0, 0));
        at += sent;
        left -= sent;
    }
    end(0);
}

/* Row 37: the worker's own `syscall` instructions. */

static const u8 *nth_syscall(const u8 *caller, u64 n)
{
    u64 base = find(caller).base;
    const struct segment *code = segment(base, 5);
    const u8 *at = (const u8 *)(base + code->address), *last = at + code->bytes - 2;
    for (; at < last; at++)
        if (at[0] == 0x0f && at[1] == 0x05 && n-- == 0)
            return at;
    return 0;
}

/* Counts them from the `argument`th on, 200 at most: an exit code is a byte. */
u64 count_syscalls(u64 argument)
{
    const u8 *caller = CALLER;
    u64 count = 0;
    while (count < 200 && nth_syscall(caller, argument + count) != 0)
        count++;
    end(count);
}

/* Jumps to the `argument`th, at the load of the key before it where there is one, to become a shell that ends with code 42: whatever
 * the worker would do after the call, it does not get to. */
void jump_to_syscall(u64 argument)
{
    static const char shell[] = "/bin/sh";
    static const char *const exit_42[] = {shell, "-c", "exit 42", 0};
    static const char *const no_environment[] = {0};
    const u8 *at = nth_syscall(CALLER, argument);
    if (at == 0)
        end(FAILED);
    if (at[-3] == 0x4d && at[-2] == 0x8b && at[-1] == 0x09)
        at -= 3;
    register u64 r8 __asm__("r8") = 0;
    register u64 r9 __asm__("r9") = (u64)scratch;
    register u64 r10 __asm__("r10") = 0;
    __asm__ volatile("jmp *%0"
                     :
                     : "r"(at), "a"(59), "D"(shell), "S"(exit_42), "d"(no_environment), "r"(r8), "r"(r9), "r"(r10)
                     : "memory");
}

/* Jumps `argument` bytes past where it should return to. Once: what comes of it is anybody's guess. */
void jump_into_harness(u64 argument)
{
    if (calls++ > 0)
        end(0);
    __asm__ volatile("jmp *%0" : : "r"(CALLER + argument) : "memory");
}

/* Row 38: leaves by the worker's stack, as longjmp would. */
void jump_out(void)
{
    u64 stack = find(CALLER).stack;
    __asm__ volatile("mov %0, %%rsp\n\tret" : : "r"(stack + 48) : "memory");
}

/* Row 52: everything the worker can write, filled with what means something there, then a return or a fault. */

_Noreturn static void taken_over(void)
{
    call(39, NOTHING);
    end(FAILED);
}

static void fill_with_meaning(const u8 *caller, u64 argument)
{
    const u64 meanings[][2] = {
        {0, 0},
        {-1UL, -1UL},
        {1, 1},
        {2, 2},
        {3, 3},
        {4, 4},
        {0x0101010101010101, 0x0101010101010101},
        {0x0202020202020202, 0x0202020202020202},
        {0x0303030303030303, 0x0303030303030303},
        {0x0404040404040404, 0x0404040404040404},
        {0x10000000, 0x6fffffff}, /* a range around all that a job has */
        {0x6fffffff, 0x10000000},
        {0x8000000000000000, 0x7fffffffffffffff},
        {(u64)&taken_over, (u64)&taken_over},
    };
    if (argument >= sizeof meanings / sizeof *meanings)
        end(FAILED);
    u64 base = find(caller).base;
    const struct segment *writable = segment(base, 6);
    u64 start = (base + writable->address + 7) & ~7UL, last = base + writable->address + writable->bytes;
    u64 even = meanings[argument][0], odd = meanings[argument][1];
    for (u64 at = start; at + 8 <= last; at += 8)
        *(volatile u64 *)at = at & 8 ? odd : even;
}

void mean_and_return(u64 argument) { fill_with_meaning(CALLER, argument); }

void mean_and_fault(u64 argument)
{
    fill_with_meaning(CALLER, argument);
    *(volatile u8 *)0 = 0;
}

/* Row 53: words of the worker that could be a key, each tried as one: to close a descriptor, which takes nothing but the key, or
 * to make text writable. A wrong one ends the process, so each job tries one. */

static int is_no_number(u64 word) { return word >> 48 != 0 && word >> 48 != 0xffff; }

static int could_be_a_key(u64 word)
{
    u64 plain = 0;
    for (int bit = 0; bit < 64; bit += 8) {
        u8 byte = word >> bit;
        plain += byte == 0 || byte == 0xff || (byte >= ' ' && byte <= '~');
    }
    return is_no_number(word) && plain <= 4;
}

static u64 nth_key(u64 from, u64 to, int (*could_be)(u64), u64 *n)
{
    for (u64 at = from; at + 8 <= to; at += 8)
        if (could_be(*(const u64 *)at) && (*n)-- == 0)
            return *(const u64 *)at;
    return 0;
}

static u64 find_key(const u8 *caller, u64 n)
{
    struct harness harness = find(caller);
    const struct segment *writable = segment(harness.base, 6);
    u64 statics = (harness.base + writable->address + 7) & ~7UL;
    /* The page of the trampoline's own statics, beside which the keys were; then what earlier calls left below the stack pointer. */
    u64 own = harness.statics & ~(PAGE - 1);
    u64 key = nth_key(own, own + PAGE, is_no_number, &n);
    if (key == 0)
        key = nth_key((harness.stack & ~(PAGE - 1)) - 2 * PAGE, (harness.stack | (PAGE - 1)) + 1, could_be_a_key, &n);
    return key ? key : nth_key(statics, harness.base + writable->address + writable->bytes, could_be_a_key, &n);
}

void close_with_key(u64 argument)
{
    u64 key = find_key(CALLER, argument);
    if (key == 0)
        end(FAILED);
    call(3, 100, 0, 0, 0, 0, key);
    end(0);
}

void write_text_with_key(u64 argument)
{
    u64 key = find_key(CALLER, argument);
    if (key == 0)
        end(FAILED);
    must(call(10, (u64)&write_text_with_key & ~(PAGE - 1), PAGE, 3, 0, 0, key));
    end(0);
}
