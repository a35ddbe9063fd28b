; Sets the trap flag: a trap follows the next instruction.
        bits    64
        section .text
        global  playground
playground:
        pushfq
        or      qword [rsp], 1 << 8
        popfq
        nop
        ret
