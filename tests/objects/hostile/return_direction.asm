; Returns with the direction flag set.
        bits    64
        section .text
        global  playground
playground:
        std
        ret
