; Takes 1 GiB of stack and touches only its far end, past any guard.
        bits    64
        section .text
        global  playground
playground:
        sub     rsp, 1 << 30
        mov     byte [rsp], 1
        add     rsp, 1 << 30
        ret
