; Pushes with rsp at 0, so that no signal frame fits there either.
        bits    64
        section .text
        global  playground
playground:
        xor     esp, esp
        push    rax
        ret
