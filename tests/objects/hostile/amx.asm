; Uses an AMX tile without configuring any: undefined on every processor, with AMX or without.
        bits    64
        section .text
        global  playground
playground:
        tilezero tmm0
        ret
