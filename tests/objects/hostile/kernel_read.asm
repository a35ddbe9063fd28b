; Reads an address of the kernel.
        bits    64
        section .text
        global  playground
playground:
        mov     rax, 0xffff800000000000
        mov     eax, [rax]
        ret
