; Returns with an x87 control word of single precision and no exception masked.
        bits    64
        section .text
        global  playground
playground:
        push    0x0040
        fldcw   [rsp]
        pop     rax
        ret
