; Calls a return instruction in its writable data.
        bits    64
        section .text
        global  playground
playground:
        call    code
        ret

        section .data
code:
        ret
