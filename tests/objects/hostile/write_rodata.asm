; Writes to its own read-only data.
        bits    64
        section .text
        global  playground
playground:
        mov     byte [rel constant], 1
        ret

        section .rodata
constant:
        db      0
