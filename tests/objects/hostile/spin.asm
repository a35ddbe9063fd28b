; Never returns.
        bits    64
        section .text
        global  playground
playground:
        jmp     $
