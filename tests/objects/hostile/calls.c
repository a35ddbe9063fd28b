/* System calls that no function under test may make, one attack a function: chosen by `_symbol`.
 *
 * Whatever a call names (a process, a key, a message) is the attacker's own or does not exist, so that an attack which is let
 * through harms nobody. See attack.h for how each ends. */
#include "attack.h"

#define AT_FDCWD ((u64)-100)
#define CHILDREN 8
#define KEY 0x57ebc0de

static const char shell[] = "/bin/sh";
static const char *const exit_42[] = {shell, "-c", "exit 42", 0};
static const char *const no_environment[] = {0};
static const char created[] = "/tmp/webrunner-corpus-created";
static const char passwd[] = "/etc/passwd";
static const char name[] = "webrunner";
static u8 scratch[4096] __attribute__((aligned(4096)));

/* Ends the process if it is a child; counts it if it was made. */
static int is_made(long forked)
{
    if (forked == 0)
        end(0);
    must(forked);
    return call(61, forked, 0, 0, 0, 0, 0) == forked;
}

/* Row 11: processes. */

void fork_loop(void)
{
    int made = 0;
    for (int i = 0; i < CHILDREN; i++)
        made += is_made(call(57, NOTHING));
    end(made == CHILDREN ? 0 : FAILED);
}

void vfork_loop(void)
{
    int made = 0;
    for (int i = 0; i < CHILDREN; i++)
        made += is_made(call(58, NOTHING));
    end(made == CHILDREN ? 0 : FAILED);
}

void clone_loop(void)
{
    int made = 0;
    for (int i = 0; i < CHILDREN; i++)
        made += is_made(call(56, 17, 0, 0, 0, 0, 0));
    end(made == CHILDREN ? 0 : FAILED);
}

void clone3_loop(void)
{
    u64 arguments[8] = {0, 0, 0, 0, 17, 0, 0, 0};
    int made = 0;
    for (int i = 0; i < CHILDREN; i++)
        made += is_made(call(435, (u64)arguments, sizeof arguments, 0, 0, 0, 0));
    end(made == CHILDREN ? 0 : FAILED);
}

/* Row 12: programs. They end with code 42. */

void execve_shell(void) { tell(call(59, (u64)shell, (u64)exit_42, (u64)no_environment, 0, 0, 0)); }

void execveat_shell(void) { tell(call(322, AT_FDCWD, (u64)shell, (u64)exit_42, (u64)no_environment, 0, 0)); }

void memfd_of_code(void)
{
    long file = must(call(319, (u64)name, 0, 0, 0, 0, 0));
    tell(call(1, file, (u64)scratch, sizeof scratch, 0, 0, 0));
}

/* Row 13: files, sockets, other processes, the kernel's larger doors. */

void open_file(void) { tell(call(257, AT_FDCWD, (u64)passwd, 0, 0, 0, 0)); }

void create_file(void) { tell(call(257, AT_FDCWD, (u64)created, 0102, 0600, 0, 0)); }

void tcp_socket(void) { tell(call(41, 2, 1, 0, 0, 0, 0)); }

/* To a port of the host's own, where nobody listens. */
void connect_tcp(void)
{
    static const struct {
        u16 family;
        u8 port[2], address[4], zero[8];
    } address = {2, {0, 1}, {127, 0, 0, 1}, {0}};
    long socket = must(call(41, 2, 1, 0, 0, 0, 0));
    tell(call(42, socket, (u64)&address, sizeof address, 0, 0, 0));
}

void bpf_map(void)
{
    u32 attributes[16] = {2, 4, 4, 1};
    tell(call(321, 0, (u64)attributes, sizeof attributes, 0, 0, 0));
}

void keyctl_session(void) { tell(call(250, 0, (u64)-3, 1, 0, 0, 0)); }

void userfaultfd(void) { tell(call(323, 1, 0, 0, 0, 0, 0)); }

void process_vm_readv_init(void)
{
    u64 here[2] = {(u64)scratch, 8};
    tell(call(310, 1, (u64)here, 1, (u64)here, 1, 0));
}

void process_vm_writev_init(void)
{
    u64 here[2] = {(u64)scratch, 8};
    tell(call(311, 1, (u64)here, 1, (u64)here, 1, 0));
}

void ptrace_me(void) { tell(call(101, NOTHING)); }

void perf_event_open_clock(void)
{
    u32 attributes[32] = {1, 128};
    tell(call(298, (u64)attributes, 0, (u64)-1, (u64)-1, 0, 0));
}

void mount_tmpfs(void) { tell(call(165, (u64)name, (u64) "/tmp", (u64) "tmpfs", 0, 0, 0)); }

void unshare_user(void) { tell(call(272, 0x10000000, 0, 0, 0, 0, 0)); }

void setns_nowhere(void) { tell(call(308, 0, 0, 0, 0, 0, 0)); }

void io_uring_setup(void)
{
    u32 parameters[32] = {0};
    tell(call(425, 8, (u64)parameters, 0, 0, 0, 0));
}

/* Row 14: memory. */

void mmap_rwx(void)
{
    u8 *code = (u8 *)must(call(9, 0, 4096, 7, 0x22, (u64)-1, 0));
    code[0] = 0xc3;
    ((void (*)(void))code)();
    end(0);
}

/* Row 25 as well: more than a worker may have. */
void mmap_16_gib(void) { tell(call(9, 0, 16UL << 30, 3, 0x4022, (u64)-1, 0)); }

void mprotect_text_writable(void)
{
    u8 *text = (u8 *)((u64)&mprotect_text_writable & ~4095UL);
    must(call(10, (u64)text, 4096, 7, 0, 0, 0));
    text[0] = text[0];
    end(0);
}

void mprotect_data_executable(void)
{
    must(call(10, (u64)scratch, sizeof scratch, 5, 0, 0, 0));
    end(0);
}

void pkey_mprotect_data(void) { tell(call(329, (u64)scratch, sizeof scratch, 7, (u64)-1, 0, 0)); }

void mremap_data(void) { tell(call(25, (u64)scratch, 4096, 8192, 1, 0, 0)); }

void shmat_nowhere(void) { tell(call(30, (u64)-1, 0, 0, 0, 0, 0)); }

void madvise_away(void)
{
    scratch[0] = 1;
    must(call(28, (u64)scratch, sizeof scratch, 4, 0, 0, 0));
    end(scratch[0] == 0 ? 0 : FAILED);
}

void lock_memory(void) { tell(call(149, (u64)scratch, sizeof scratch, 0, 0, 0, 0)); }

void brk_more(void)
{
    u64 end_of_heap = call(12, NOTHING);
    end((u64)call(12, end_of_heap + 4096, 0, 0, 0, 0, 0) == end_of_heap + 4096 ? 0 : FAILED);
}

/* Row 15: what handles signals and what the processor is set to. */

void take_sigsys(void)
{
    u64 action[4] = {1, 0x04000000, 0, 0};
    tell(call(13, 31, (u64)action, 0, 8, 0, 0));
}

void move_signal_stack(void)
{
    u64 stack[3] = {(u64)scratch, 0, sizeof scratch};
    tell(call(131, (u64)stack, 0, 0, 0, 0, 0));
}

void block_signals(void)
{
    u64 all = -1UL;
    tell(call(14, 0, (u64)&all, 0, 8, 0, 0));
}

void prctl_dumpable(void) { tell(call(157, 4, 1, 0, 0, 0, 0)); }

void arch_prctl_gs(void) { tell(call(158, 0x1001, (u64)scratch, 0, 0, 0, 0)); }

void arch_prctl_amx(void) { tell(call(158, 0x1023, 18, 0, 0, 0, 0)); }

void seccomp_own_filter(void) { tell(call(317, 1, 0, 0, 0, 0, 0)); }

void modify_ldt_read(void) { tell(call(154, 0, (u64)scratch, sizeof scratch, 0, 0, 0)); }

void iopl_3(void) { tell(call(172, 3, 0, 0, 0, 0, 0)); }

void rseq_register(void) { tell(call(334, (u64)scratch, 32, 0, 0x53053053, 0, 0)); }

void futex_wake(void) { tell(call(202, (u64)scratch, 1, 1, 0, 0, 0)); }

void sleep_on(void)
{
    u64 nanosecond[2] = {0, 1};
    tell(call(35, (u64)nanosecond, 0, 0, 0, 0, 0));
}

/* Row 17: signals to others. Signal 0: a hole is seen, and nobody dies. */

void kill_all(void) { tell(call(62, (u64)-1, 0, 0, 0, 0, 0)); }

void tgkill_init(void) { tell(call(234, 1, 1, 0, 0, 0, 0)); }

void pidfd_open_init(void) { tell(call(434, 1, 0, 0, 0, 0, 0)); }

void pidfd_signal(void) { tell(call(424, 3, 0, 0, 0, 0, 0)); }

/* Row 18: what one job could leave for the next. */

void leave_message(void)
{
    long memory = must(call(29, KEY, 4096, 01600, 0, 0, 0));
    u32 *message = (u32 *)must(call(30, memory, 0, 0, 0, 0, 0));
    *message = KEY;
    end(0);
}

void find_message(void)
{
    long memory = must(call(29, KEY, 4096, 0600, 0, 0, 0));
    const u32 *message = (const u32 *)must(call(30, memory, 0, 010000, 0, 0, 0));
    end(*message == KEY ? 0 : FAILED);
}

void semget_private(void) { tell(call(64, 0, 1, 0600, 0, 0, 0)); }

void msgget_private(void) { tell(call(68, 0, 0600, 0, 0, 0, 0)); }

void mq_open_new(void) { tell(call(240, (u64)name, 0102, 0600, 0, 0, 0)); }

void add_key_user(void) { tell(call(248, (u64) "user", (u64)name, (u64)name, 4, (u64)-3, 0)); }

void bind_abstract(void)
{
    static const struct {
        u16 family;
        char path[10];
    } address = {1, "\0webrunner"};
    long socket = must(call(41, 1, 1, 0, 0, 0, 0));
    tell(call(49, socket, (u64)&address, sizeof address, 0, 0, 0));
}

void vsock(void) { tell(call(41, 40, 1, 0, 0, 0, 0)); }

void flock_null(void) { tell(call(73, 0, 2, 0, 0, 0, 0)); }

/* Row 19: descriptors and urgent bytes for the supervisor. */

void send_descriptors(void)
{
    struct {
        u64 length;
        u32 level, type;
        u32 descriptors[8];
    } rights = {16 + 32, 1, 1, {0, 1, 2, 0, 1, 2, 0, 1}};
    u64 vector[2] = {(u64)name, 1};
    u64 message[7] = {0, 0, (u64)vector, 1, (u64)&rights, sizeof rights, 0};
    tell(call(46, 3, (u64)message, 0, 0, 0, 0));
}

void send_urgent(void) { tell(call(44, 3, (u64)name, 1, 1, 0, 0)); }

/* Row 20: its own descriptors. */

void dup_over_job_socket(void) { tell(call(33, 0, 3, 0, 0, 0, 0)); }

void dup_often(void)
{
    for (int i = 0; i < 200; i++)
        must(call(32, 0, 0, 0, 0, 0, 0));
    end(0);
}

void unblock_job_socket(void) { tell(call(72, 3, 4, 04000, 0, 0, 0)); }

void type_on_terminal(void) { tell(call(16, 0, 0x5412, (u64)name, 0, 0, 0)); }

void attach_bpf(void) { tell(call(16, 4, 0x40042408, 0, 0, 0, 0)); }

void read_job_socket_options(void)
{
    u32 value = 0, length = 4;
    tell(call(55, 3, 1, 3, (u64)&value, (u64)&length, 0));
}
