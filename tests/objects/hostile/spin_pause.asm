; Never returns, and is kind to its core meanwhile.
        bits    64
        section .text
        global  playground
playground:
.again:
        pause
        jmp     .again
