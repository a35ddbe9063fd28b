; Writes to its own text.
        bits    64
        section .text
        global  playground
playground:
        mov     byte [rel playground], 0xc3
        ret
