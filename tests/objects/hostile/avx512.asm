; Needs AVX-512F.
        bits    64
        section .text
        global  playground
playground:
        vaddps  zmm0, zmm1, zmm2
        vzeroupper
        ret
