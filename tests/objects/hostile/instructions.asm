; Instructions that need a right, a mode or a part of the CPU that a function has not, one a function: chosen by `_symbol`. Each
; returns if its instruction did nothing worse than that.
        bits    64
        section .text

%macro  one 1+
        %1
        ret
%endmacro

%macro  entry 1
        align   16
        global  %1
%1:
%endmacro

; Row 22: to wait without spinning.
entry umwait_for_ever
.again: xor     ecx, ecx
        mov     eax, -1
        mov     edx, eax
        umwait  ecx
        jmp     .again
entry tpause_for_ever
.again: xor     ecx, ecx
        mov     eax, -1
        mov     edx, eax
        tpause  ecx
        jmp     .again
entry mwaitx_for_ever
.again: lea     rax, [rel scratch]
        xor     ecx, ecx
        xor     edx, edx
        monitorx
        xor     eax, eax
        mwaitx
        jmp     .again
entry mwait_for_ever
.again: lea     rax, [rel scratch]
        xor     ecx, ecx
        xor     edx, edx
        monitor
        xor     eax, eax
        mwait
        jmp     .again

; Row 31: anywhere, from the argument.
entry read_at
        one     mov     rax, [rdi]
entry write_at
        one     mov     [rdi], rax
entry jump_to
        jmp     rdi
entry call_at
        xchg    rax, rdi
        xor     edi, edi
        xor     esi, esi
        call    rax
        ret

; Row 38: wrong ways back.
entry return_8
        ret     8
entry push_three
        push    rax
        push    rax
        push    rax
        ret
entry leave_twice
        push    rbp
        mov     rbp, rsp
        leave
        leave
        ret
entry skip_caller
        add     rsp, 8
        ret

; Row 39: flags at the return.
%macro  return_with 1
        pushfq
        or      qword [rsp], %1
        popfq
        ret
%endmacro
entry return_nested_task
        return_with 0x4000
entry return_id
        return_with 0x200000
entry return_trap
        return_with 0x100

; Row 41: segments and their bases.
entry wrfsbase_zero
        xor     eax, eax
        one     wrfsbase rax
entry wrfsbase_non_canonical
        mov     rax, 0x8000000000000000
        one     wrfsbase rax
entry wrgsbase_junk
        mov     rax, 0x414141414141
        one     wrgsbase rax
entry load_ds_null
        xor     eax, eax
        one     mov     ds, eax
entry load_es_kernel
        mov     eax, 0x10
        one     mov     es, eax
entry load_ss_null
        xor     eax, eax
        one     mov     ss, eax
entry load_fs_ldt
        mov     eax, 0x0f
        one     mov     fs, eax
entry load_gs_user
        mov     eax, 0x2b
        one     mov     gs, eax

; Row 42: rights of the kernel.
entry do_cli
        one     cli
entry do_sti
        one     sti
entry do_in
        one     in      al, 0x80
entry do_out
        one     out     0x80, al
entry do_rdmsr
        mov     ecx, 0x10
        one     rdmsr
entry do_wrmsr
        mov     ecx, 0x10
        one     wrmsr
entry do_invlpg
        one     invlpg  [rel scratch]
entry do_wbinvd
        one     wbinvd
entry do_invd
        one     invd
entry do_read_cr0
        one     mov     rax, cr0
entry do_write_cr4
        one     mov     cr4, rax
entry do_read_dr7
        one     mov     rax, dr7
entry do_clts
        one     clts
entry do_xsetbv
        xor     ecx, ecx
        mov     eax, 7
        xor     edx, edx
        one     xsetbv
entry do_swapgs
        one     swapgs
entry do_sysret
        lea     rcx, [rel .back]
        mov     r11d, 0x202
        o64 sysret
.back:  ret
entry do_lgdt
        one     lgdt    [rel scratch]
entry do_lidt
        one     lidt    [rel scratch]
entry do_ltr
        one     ltr     ax
entry do_lmsw
        one     lmsw    ax
entry do_iret_to_kernel
        lea     rax, [rel .back]
        mov     rcx, rsp
        push    0x18
        push    rcx
        push    0x202
        push    0x10
        push    rax
        iretq
.back:  ret
entry do_vmcall
        one     vmcall
entry do_vmmcall
        one     vmmcall
entry do_clgi
        one     clgi

; Row 43: instructions that only tell.
entry do_sgdt
        one     sgdt    [rel scratch]
entry do_sidt
        one     sidt    [rel scratch]
entry do_sldt
        one     sldt    rax
entry do_str
        one     str     rax
entry do_smsw
        one     smsw    rax

; Row 44: traps.
entry do_icebp
        one     db      0xf1
entry do_rsm
        one     rsm
entry do_bad_lock
        one     db      0xf0, 0x90
; int n, n from the argument.
entry interrupt
        lea     rax, [rel .table]
        lea     rax, [rax + 4 * rdi]
        jmp     rax
        align   4
.table:
%assign number 0
%rep    256
        db      0xcd, number, 0xc3, 0x90
%assign number number + 1
%endrep

; Row 45: arithmetic that cannot be.
entry least_by_minus_one
        mov     eax, 0x80000000
        cdq
        mov     ecx, -1
        one     idiv    ecx
entry x87_divide_by_zero
        push    0x37b
        fldcw   [rsp]
        add     rsp, 8
        fldz
        fld1
        fdiv    st0, st1
        fwait
        ret

; Row 46: alignment.
entry misaligned_movaps
        lea     rax, [rel scratch + 1]
        one     movaps  xmm0, [rax]
entry split_lock
        lea     rax, [rel scratch + 61]
        one     lock add dword [rax], 1

; Row 47: what tells time, the CPU or chance.
entry do_rdtsc
        one     rdtsc
entry do_rdtscp
        one     rdtscp
entry do_cpuid
        xor     eax, eax
        xor     ecx, ecx
        push    rbx
        cpuid
        pop     rbx
        ret
entry do_rdpid
        one     rdpid   rax
entry do_rdrand
        one     rdrand  rax
entry do_rdpru
        xor     ecx, ecx
        one     db      0x0f, 0x01, 0xfd
entry do_rdpmc
        xor     ecx, ecx
        one     rdpmc

; Row 48: keys, shadow stacks, transactions.
entry do_wrpkru
        xor     eax, eax
        xor     ecx, ecx
        xor     edx, edx
        one     wrpkru
entry do_incssp
        mov     eax, 1
        one     incsspq rax
entry do_setssbsy
        one     setssbsy
entry do_wrss
        lea     rcx, [rel scratch]
        one     wrssq   [rcx], rax
entry do_rdssp
        one     rdsspq  rax
entry do_xabort
        one     xabort  1
entry do_xbegin
        xbegin  .aborted
        xend
.aborted:
        ret

; Row 50: caches and predictors.
entry prefetch_kernel
        mov     rax, 0xffffffff81000000
        prefetcht0 [rax]
        one     prefetchnta [rax]
entry clflush_kernel
        mov     rax, 0xffffffff81000000
        one     clflush [rax]
entry flush_and_reload
        lea     rax, [rel scratch]
        clflush [rax]
        mfence
        rdtsc
        mov     r8d, eax
        mov     rcx, [rel scratch]
        lfence
        rdtsc
        sub     eax, r8d
        ret
; Trains a branch, then takes it wrongly over a read of the kernel's memory: nothing comes of it that the program sees.
entry train_branch
        mov     ecx, 64
        mov     rdx, 0xffffffff81000000
        lea     r9, [rel scratch]
.again: cmp     ecx, 1
        mov     r8, r9
        cmove   r8, rdx
        je      .last
        mov     rax, [r8]
        dec     ecx
        jmp     .again
.last:  ret

; Row 56: enclaves, virtual machines, their guests' pages, user interrupts, tracing: as bytes, for NASM does not know them all.
%macro  bytes 2+
entry do_%1
        one     db %2
%endmacro
        bytes   enclu, 0x0f, 0x01, 0xd7
        bytes   encls, 0x0f, 0x01, 0xcf
        bytes   enclv, 0x0f, 0x01, 0xc0
        bytes   getsec, 0x0f, 0x37
        bytes   vmrun, 0x0f, 0x01, 0xd8
        bytes   vmload, 0x0f, 0x01, 0xda
        bytes   vmfunc, 0x0f, 0x01, 0xd4
        bytes   stgi, 0x0f, 0x01, 0xdc
        bytes   skinit, 0x0f, 0x01, 0xde
        bytes   seamcall, 0x66, 0x0f, 0x01, 0xcf
        bytes   tdcall, 0x66, 0x0f, 0x01, 0xcc
        bytes   vmgexit, 0xf3, 0x0f, 0x01, 0xd9
        bytes   pvalidate, 0xf2, 0x0f, 0x01, 0xff
        bytes   rmpadjust, 0xf3, 0x0f, 0x01, 0xfe
        bytes   invlpgb, 0x0f, 0x01, 0xfe
        bytes   tlbsync, 0x0f, 0x01, 0xff
        bytes   invpcid, 0x66, 0x0f, 0x38, 0x82, 0x07
        bytes   pconfig, 0x0f, 0x01, 0xc5
        bytes   hreset, 0xf3, 0x0f, 0x3a, 0xf0, 0xc0, 0x00
        bytes   wrmsrns, 0x0f, 0x01, 0xc6
        bytes   rdmsrlist, 0xf2, 0x0f, 0x01, 0xc6
        bytes   uiret, 0xf3, 0x0f, 0x01, 0xec
        bytes   stui, 0xf3, 0x0f, 0x01, 0xef
        bytes   senduipi, 0xf3, 0x0f, 0xc7, 0xf0
        bytes   eretu, 0xf3, 0x0f, 0x01, 0xca
        bytes   lkgs, 0xf2, 0x0f, 0x00, 0xf0
        bytes   loadiwkey, 0xf3, 0x0f, 0x38, 0xdc, 0xc1
        bytes   enqcmd, 0xf2, 0x0f, 0x38, 0xf8, 0x07
        bytes   wruss, 0x66, 0x48, 0x0f, 0x38, 0xf5, 0x07
        bytes   llwpcb, 0x8f, 0xe9, 0x78, 0x12, 0xc7
        bytes   slwpcb, 0x8f, 0xe9, 0x78, 0x12, 0xcf
        bytes   bndmk, 0xf3, 0x0f, 0x1b, 0x07
        bytes   monitor, 0x0f, 0x01, 0xc8
        bytes   clzero, 0x0f, 0x01, 0xfc
        bytes   serialize, 0x0f, 0x01, 0xe8
        bytes   ptwrite, 0xf3, 0x0f, 0xae, 0xe0
        bytes   rdpkru, 0x0f, 0x01, 0xee

; Row 51: what is loaded into ss holds traps back for one instruction; here that is a way into the kernel.
%macro  after_ss 2+
entry %1_after_ss
        push    0x2b
        mov     eax, 39
        mov     ss, [rsp]
        %2
        pop     rcx
        ret
%endmacro
        after_ss syscall, syscall
        after_ss int3, int3
        after_ss icebp, db 0xf1
        after_ss int80, int 0x80

; Returns from an interrupt that never was: with flags and selectors that only the kernel may set, and to nowhere.
%macro  iret_to 4
entry iret_%1
        mov     rax, rsp
        push    %2
        push    rax
        push    %3
        push    0x33
        mov     rax, %4
        push    rax
        iretq
.back:  ret
%endmacro
        iret_to rights, 0x2b, 0x3202, .back
        iret_to virtual_86, 0x2b, 0x20202, .back
        iret_to null_stack, 0, 0x202, .back
        iret_to non_canonical, 0x2b, 0x202, 0x800000000000

; The kernel reports faults of 32-bit code to a handler of 64 bits.
%macro  entry_32 1
entry %1
        push    0x23
        lea     rax, [rel .narrow]
        push    rax
        o64 retf
        bits    32
.narrow:
%endmacro
entry_32 narrow_ud2
        ud2
        bits    64
entry_32 narrow_null
        mov     eax, [0]
        bits    64
entry_32 narrow_divide
        xor     ecx, ecx
        div     ecx
        bits    64
entry_32 narrow_stack
.deeper: push   eax
        jmp     .deeper
        bits    64
entry_32 narrow_far
        jmp     0x33:0xffffffff
        bits    64

        section .bss
        align   64
scratch: resb   128
