/* The units of the self-test of native compilers: functions named unit_NAME, without headers. Each is about something that depends on
   options, on the target's ABI or on a patch of a distribution. */
typedef __SIZE_TYPE__ size;
void use(void *, ...);
extern int counter __attribute__((weak));

int unit_arrays(unsigned n, const char *s) { char a[n + 1]; for (unsigned i = 0; i <= n; i++) a[i] = s[i]; use(a, n); return a[0] + a[n]; }
int unit_alloca(unsigned n, const char *s) { char *a = __builtin_alloca(n), b[32]; __builtin_strcpy(a, s); use(a, b); return a[n - 1] + b[3]; }
int unit_buffer(const char *s) { char b[64]; __builtin_strcpy(b, s); use(b); return b[0] + b[5]; }
int unit_frame(int i) { volatile char large[70000]; large[i] = 1; use((void *)large); return large[i + 1]; }
void unit_calls(int (*f)(int, void *), void *p) { if (f(1, p)) use(p, f(2, p)); else use(f(3, p) ? p : 0); }
int unit_tail(int (*f)(int), int n) { return n ? f(n - 1) : f(0); }
int unit_switch(int n) { switch (n) { case 0: return 7; case 1: return 11; case 2: use(0); return 5; case 3: return 9; case 4: use(&n); return n; case 9: return 1; default: return -1; } }
void unit_loops(float *restrict a, const float *restrict b, int n) { for (int i = 0; i < n; i++) a[i] = a[i] * b[i] + 1.5f; }
int unit_reduction(const short *a, int n) { int sum = 0; for (int i = 0; i < n; i++) sum += a[i] > 3 ? a[i] * 5 : -a[i]; return sum; }
long double unit_long_double(long double a, long double b, int n) { while (n--) a = a * b + 0.1L; return a < b ? a : a / b; }
double unit_floats(double a, float b, int n) { return __builtin_sqrt(a) + b / n + __builtin_fma(a, b, 1e300) + (long long)a; }
_Complex double unit_complex(_Complex double a, _Complex double b) { return a * b / (a + 1.0); }
long long unit_wide(long long a, unsigned long long b, int n) { return (a / (long long)(b | 1) + (a << n) + (long long)(b >> n)) % 1000000007LL; }
int unit_constants(int n) { return n / 7 + n % 10 + (n * 0x12345678) + (n & 0xff00ff) + __builtin_popcount(n) + __builtin_clz(n | 1); }
int unit_atomics(int *p, long long *q, _Bool *b) { int old = __atomic_fetch_add(p, 1, __ATOMIC_SEQ_CST); long long w = 5; __atomic_compare_exchange_n(q, &w, 6, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED); return old + (int)w + __atomic_test_and_set(b, __ATOMIC_ACQUIRE); }
struct bits { unsigned a : 3, b : 17; long long c : 40; char d[3]; } __attribute__((packed));
struct bits unit_structures(struct bits x, int n) { x.a = n; x.b += n; x.c = -n; x.d[1] = x.a; return x; }
int unit_arguments(int n, ...) { __builtin_va_list l; __builtin_va_start(l, n); double d = 0; while (n--) d += n & 1 ? __builtin_va_arg(l, double) : __builtin_va_arg(l, int); __builtin_va_end(l); return d; }
static __thread int unit_tls_own = 3; extern __thread int unit_tls_other;
int unit_threads(void) { return ++unit_tls_own + unit_tls_other; }
void unit_openmp(double *a, int n) { double sum = 0;
#pragma omp parallel for reduction(+ : sum) schedule(dynamic, 4)
  for (int i = 0; i < n; i++) { sum += a[i]; a[i] = sum; }
#pragma omp critical
  use(a, sum); }
int unit_jumps(void **p, int n) { static void *const where[] = { &&a, &&b, &&c }; goto *where[n];
a: use(p); b: n += 2; if (n < 9) goto *where[1]; c: return n; }
int unit_nested(int n) { int inner(int k) { return k + n; } use((void *)inner); return inner(2); }
int unit_assembly(int a, int b) { __asm__ volatile("" : "+r"(a) : "r"(b) : "memory"); return a + b; }
const char *unit_strings(int n) { static const char *const names[] = { "one", "two", "three\0four" }; return n < 3 ? names[n] : "other"; }
size unit_memory(char *a, const char *b, size n) { __builtin_memcpy(a, b, 37); __builtin_memset(a + 40, 7, 100); return __builtin_strlen(a) + __builtin_memcmp(a, b, n); }
