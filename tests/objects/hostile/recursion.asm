; Calls itself for ever: runs into the guard below its stack.
        bits    64
        section .text
        global  playground
playground:
        call    playground
        ret
