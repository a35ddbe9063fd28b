# Data and nothing else.
        .data
        .globl  value
        .type   value, @object
        .size   value, 4
value:  .long   7
