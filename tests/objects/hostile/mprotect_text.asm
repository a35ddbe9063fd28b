; Makes its own text writable and, if that was let through, writes there.
        bits    64
        section .text
        global  playground
playground:
        lea     rdi, [rel playground]
        and     rdi, -4096
        mov     esi, 4096
        mov     edx, 7
        mov     eax, 10
        syscall
        mov     byte [rel .written], 0x90
.written:
        ret
