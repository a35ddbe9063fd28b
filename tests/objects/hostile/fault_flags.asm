; Faults with the direction and alignment-check flags set, which a signal handler inherits in part.
        bits    64
        section .text
        global  playground
playground:
        pushfq
        or      qword [rsp], 1 << 18 | 1 << 10
        popfq
        xor     eax, eax
        mov     eax, [rax]
        ret
