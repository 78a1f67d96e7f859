/* The units of the self-test of native compilers for C++; see units.c. */
extern "C" void use(void *, ...);
struct Guard { int *place; explicit Guard(int *p) : place(p) { ++*p; } ~Guard() { --*place; use(place); } };
struct Base { virtual ~Base() {} virtual int f(int) = 0; int first = 1; };
struct Other { virtual int g() { return 3; } long second = 2; };
struct Both : virtual Base, Other { int f(int n) override { return n + first; } int g() override { return 4; } };
struct Failure { int code; const char *text; };

template <class T, int N> struct Array { T items[N]; T sum() const { T s{}; for (const T &i : items) s += i; return s; } template <class F> void each(F f) { for (T &i : items) f(i); } };
template <class... T> auto total(T... t) { return (t + ...); }
constexpr long fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
auto closure(int n) { return [n, k = n * 2](auto x) mutable { return k += n + x; }; }

extern "C" {
int unit_exceptions(int n) { int count = 0; try { Guard a(&count); if (n > 3) throw Failure{n, "large"}; Guard b(&count); use(&b); if (n < 0) throw n; }
  catch (const Failure &f) { return f.code; } catch (int i) { use(&i); throw; } catch (...) { return -1; } return count; }
int unit_cleanup(unsigned n, const char *s) { int count = 0; Guard a(&count); char *p = static_cast<char *>(__builtin_alloca(n)); __builtin_strcpy(p, s); Guard b(&count); use(p); return p[0]; }
int unit_nothrow(int *p) noexcept { Guard a(p); use(p); return *p; }
int unit_templates(int n) { Array<int, 9> a{{1, 2, n}}; Array<double, 3> b{{1.5, 2.5}}; a.each([&](int &i) { i += n; }); b.each([](double &d) { d *= 2; }); return a.sum() + static_cast<int>(b.sum()) + total(n, 2, 3u); }
Base *unit_classes(Other *o) { if (Both *b = dynamic_cast<Both *>(o)) return b; Both *b = new Both; use(b, b->f(2), o->g()); return b; }
int unit_statics(int n) { static Guard once(new int(n)); thread_local Guard each(new int(n)); return *once.place + *each.place; }
using Member = int (Other::*)(); Member unit_members(bool b) { return b ? &Other::g : nullptr; }
int unit_closure(int n) { auto f = closure(n); return f(3) + static_cast<int>(f(2.5)); }
long unit_constants() { constexpr long f = fibonacci(20); return f; }
}
