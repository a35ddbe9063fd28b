; Returns with all eight x87 registers in use.
        bits    64
        section .text
        global  playground
playground:
        times 8 fld1
        ret
