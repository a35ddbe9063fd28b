; A privileged instruction.
        bits    64
        section .text
        global  playground
playground:
        hlt
