; Does nothing, for any kernel that calls it.
        bits    64
        section .text
        global  nothing
nothing:
        ret
