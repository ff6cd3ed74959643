/* What the core needs of C that Cython has no words for. Included once, by _core.pyx. */
#ifndef MICROBATCH_NATIVE_H
#define MICROBATCH_NATIVE_H

#include <Python.h>
#include <time.h>
#if defined(CLOCK_MONOTONIC) && !defined(_WIN32) && !defined(__APPLE__)
#define MICROBATCH_NATIVE_CLOCK 1
static double microbatch_monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
#else
#define MICROBATCH_NATIVE_CLOCK 0
static double microbatch_monotonic(void) { return 0.0; }
#endif

/* What asyncio keeps in the thread's state while a loop runs, and replaces when it stops. Looking
   at it costs a tenth of asyncio's own call, which on 3.11 asks for the process number too; from
   3.12 on that call is cheap, and there is no need to look: NULL. */
static PyObject *microbatch_loop_mark(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return NULL;
#else
    static PyObject *key = NULL;
    PyObject *state = PyThreadState_GetDict();
    if (key == NULL)
        key = PyUnicode_InternFromString("__asyncio_running_event_loop__");
    return state == NULL || key == NULL ? NULL : PyDict_GetItemWithError(state, key);
#endif
}

/* The context that this thread runs in, borrowed; what is asked of it is only its address. */
static PyObject *microbatch_context(void) { return PyThreadState_Get()->context; }

/* Set StopIteration with this value, without the arguments that its constructor would parse. */
static void microbatch_stop_iteration(PyObject *value)
{
    static PyObject *no_arguments = NULL;
    PyTypeObject *type = (PyTypeObject *)PyExc_StopIteration;
    PyObject *stop;
    if (no_arguments == NULL && (no_arguments = PyTuple_New(0)) == NULL)
        return;
    stop = type->tp_new(type, no_arguments, NULL);
    if (stop == NULL)
        return;
    Py_INCREF(value);
    Py_XSETREF(((PyStopIterationObject *)stop)->value, value);
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(stop);
#else
    Py_INCREF(PyExc_StopIteration);
    PyErr_Restore(PyExc_StopIteration, stop, NULL);
#endif
}

/* A task's wake-up is a bound C function; it asks its argument only whether it failed. */
static int microbatch_wakes_task(PyObject *callback)
{
    static PyMethodDef *known = NULL;
    PyMethodDef *method;
    if (!PyCFunction_Check(callback))
        return 0;
    method = ((PyCFunctionObject *)callback)->m_ml;
    if (method == known)
        return 1;
    if (strcmp(method->ml_name, "TaskWakeupMethWrapper") && strcmp(method->ml_name, "task_wakeup"))
        return 0;
    known = method;
    return 1;
}

#ifdef __linux__
#include <sys/timerfd.h>
#include <unistd.h>
static int microbatch_timer_open(void)
{
    return timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
}
static void microbatch_timer_set(int fd, double when)
{
    struct itimerspec spec = {{0, 0}, {0, 0}};
    spec.it_value.tv_sec = (time_t)when;
    spec.it_value.tv_nsec = (long)((when - (double)spec.it_value.tv_sec) * 1e9);
    /* Setting it anew also takes back what was readable. */
    timerfd_settime(fd, TFD_TIMER_ABSTIME, &spec, NULL);
}
static void microbatch_timer_close(int fd) { close(fd); }
#else
static int microbatch_timer_open(void) { return -1; }
static void microbatch_timer_set(int fd, double when) { }
static void microbatch_timer_close(int fd) { }
#endif

/* The slots that a Cython class has no syntax for. */
#define MICROBATCH_TYPE(type) ((PyTypeObject *)(type))
static PyObject *microbatch_itself(PyObject *self)
{
    Py_INCREF(self);
    return self;
}
/* An `await` takes the object itself for its iterator; whoever calls __await__() by name gets what
   the class says. */
static void microbatch_set_await(
    PyObject *type, PyObject *(*next)(PyObject *),
    PySendResult (*send)(PyObject *, PyObject *, PyObject **))
{
    MICROBATCH_TYPE(type)->tp_iternext = next;
    MICROBATCH_TYPE(type)->tp_as_async->am_send = send;
    MICROBATCH_TYPE(type)->tp_as_async->am_await = microbatch_itself;
}
/* A type that adds nothing to its base but methods: its objects come and go as those of the base do,
   without a step of their own, and it has the base's attributes for its own, or each look at one
   would go through its bases. */
static int microbatch_set_like_base(PyObject *type)
{
    PyTypeObject *base = MICROBATCH_TYPE(type)->tp_base;
    PyObject *own = MICROBATCH_TYPE(type)->tp_dict, *name, *attribute;
    Py_ssize_t place = 0;
    int failed = 0;
    MICROBATCH_TYPE(type)->tp_dealloc = base->tp_dealloc;
    MICROBATCH_TYPE(type)->tp_traverse = base->tp_traverse;
    MICROBATCH_TYPE(type)->tp_clear = base->tp_clear;
    while (!failed && PyDict_Next(base->tp_dict, &place, &name, &attribute)) {
        if (Py_TYPE(attribute) != &PyGetSetDescr_Type || PyDict_Contains(own, name))
            continue;
        attribute = PyDescr_NewGetSet(
            MICROBATCH_TYPE(type), ((PyGetSetDescrObject *)attribute)->d_getset);
        failed = attribute == NULL || PyDict_SetItem(own, name, attribute) < 0;
        Py_XDECREF(attribute);
    }
    PyType_Modified(MICROBATCH_TYPE(type));
    return failed ? -1 : 0;
}
/* A method that raises without a frame of its own in the traceback. */
static int microbatch_set_method(PyObject *type, PyMethodDef *method)
{
    PyObject *descriptor = PyDescr_NewMethod(MICROBATCH_TYPE(type), method);
    int failed = descriptor == NULL
        || PyDict_SetItemString(MICROBATCH_TYPE(type)->tp_dict, method->ml_name, descriptor) < 0;
    Py_XDECREF(descriptor);
    PyType_Modified(MICROBATCH_TYPE(type));
    return failed ? -1 : 0;
}
/* Raise what a generator's throw() was given: an exception, or a type, a value and a traceback. */
static void microbatch_raise(PyObject *kind, PyObject *value, PyObject *traceback)
{
    value = value == Py_None ? NULL : value;
    traceback = traceback == Py_None ? NULL : traceback;
    if (traceback != NULL && !PyTraceBack_Check(traceback)) {
        PyErr_SetString(PyExc_TypeError, "throw() third argument must be a traceback");
        return;
    }
    if (PyExceptionInstance_Check(kind) && value == NULL) {
        value = kind;
        kind = PyExceptionInstance_Class(kind);
        if (traceback == NULL)
            traceback = ((PyBaseExceptionObject *)value)->traceback;
    } else if (PyExceptionInstance_Check(kind)) {
        PyErr_SetString(PyExc_TypeError, "instance exception may not have a separate value");
        return;
    } else if (!PyExceptionClass_Check(kind)) {
        PyErr_Format(PyExc_TypeError,
            "exceptions must be classes or instances deriving from BaseException, not %s",
            Py_TYPE(kind)->tp_name);
        return;
    }
    Py_INCREF(kind);
    Py_XINCREF(value);
    Py_XINCREF(traceback);
    PyErr_Restore(kind, value, traceback);
}
static void microbatch_set_vectorcall(PyObject *type, Py_ssize_t offset)
{
    MICROBATCH_TYPE(type)->tp_vectorcall_offset = offset;
    MICROBATCH_TYPE(type)->tp_call = PyVectorcall_Call;
    MICROBATCH_TYPE(type)->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
}
static void microbatch_set_call(PyObject *type, ternaryfunc call)
{
    PyObject *inherited = PyDict_GetItemString(MICROBATCH_TYPE(type)->tp_dict, "__call__");
    MICROBATCH_TYPE(type)->tp_call = call;
    if (inherited != NULL)  /* what subclasses written in Python take over */
        ((PyWrapperDescrObject *)inherited)->d_wrapped = (void *)call;
}
/* Another object of the same type, made as type.__new__ would, without its arguments. */
static PyObject *microbatch_new_like(PyObject *object)
{
    static PyObject *no_arguments = NULL;
    if (no_arguments == NULL && (no_arguments = PyTuple_New(0)) == NULL)
        return NULL;
    return Py_TYPE(object)->tp_new(Py_TYPE(object), no_arguments, NULL);
}
static traverseproc microbatch_set_traverse(PyObject *type, traverseproc traverse)
{
    traverseproc before = MICROBATCH_TYPE(type)->tp_traverse;
    MICROBATCH_TYPE(type)->tp_traverse = traverse;
    return before;
}
static inquiry microbatch_set_clear(PyObject *type, inquiry clear)
{
    inquiry before = MICROBATCH_TYPE(type)->tp_clear;
    MICROBATCH_TYPE(type)->tp_clear = clear;
    return before;
}
static int microbatch_visit(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(object);
    return 0;
}

#endif
