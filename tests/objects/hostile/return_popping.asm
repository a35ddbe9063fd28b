; Returns and pops 64 bytes that are not its own.
        bits    64
        section .text
        global  playground
playground:
        ret     64
