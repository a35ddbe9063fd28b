; Goes over to 32-bit code by a far return, to end the process from there with exit code 42 through one gate or another: `_symbol`
; chooses. Needs an image below 4 GiB, as WebRunner's is.
        section .text

%macro  far 1
        bits    64
        lea     rax, [rel %%code32]
        push    0x23
        push    rax
        retfq
        bits    32
%%code32:
        mov     eax, 252
        mov     ebx, 42
        %1
        ud2
%endmacro

        global  far_int80, far_sysenter, far_syscall
far_int80:
        far     {int 0x80}
far_sysenter:
        far     sysenter
far_syscall:
        far     syscall
