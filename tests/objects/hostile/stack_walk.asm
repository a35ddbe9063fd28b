; Takes 1 GiB of stack and touches every page on the way down, as compilers do with -fstack-clash-protection.
        bits    64
        section .text
        global  playground
playground:
        mov     rax, rsp
        mov     ecx, 1 << 18
.page:
        sub     rax, 4096
        mov     byte [rax], 1
        dec     ecx
        jnz     .page
        ret
