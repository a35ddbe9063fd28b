; A breakpoint.
        bits    64
        section .text
        global  playground
playground:
        int3
        ret
