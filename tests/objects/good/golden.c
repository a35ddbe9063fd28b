/* What the tests ask after every attack: the sum of its buffer. */
unsigned long golden(const unsigned long *x)
{
    unsigned long sum = 0;
    for (int i = 0; i < 512; i++)
        sum += x[i];
    return sum;
}
