/* Writes to every page of more memory than most jobs have, all it may have. */
static volatile unsigned char memory[60 << 20];

void playground(void)
{
    for (unsigned long at = 0; at < sizeof memory; at += 4096)
        memory[at] = 1;
}
