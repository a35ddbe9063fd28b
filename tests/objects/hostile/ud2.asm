; An undefined instruction.
        bits    64
        section .text
        global  playground
playground:
        ud2
