; Calls a return instruction that it has written to the stack.
        bits    64
        section .text
        global  playground
playground:
        push    0xc3
        call    rsp
        pop     rax
        ret
