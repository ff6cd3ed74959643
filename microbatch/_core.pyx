# cython: language_level=3, binding=False, boundscheck=False, wraparound=False
# cython: initializedcheck=False, nonecheck=True, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
"""The per-item half of microbatch, in C: tickets, the queue, deadlines, settling and waking.

What is asked for each item is decided here: who is admitted, refused or dropped, which key a batch
should be of, when and why. The clock and the ways to be called back are handed in, so the same code
runs under any event loop, under a virtual clock, and with no loop at all. ``_core.pyi`` is the
contract of every public name; the parts are in ``_native``, one idea in each.
"""

cimport cython
from cpython.exc cimport PyErr_SetObject
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject, visitproc
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from libc.string cimport memcpy
from types import GenericAlias

import os
import time

from microbatch.errors import BatcherClosedError, CapacityError, OverweightError

cdef extern from "Python.h":
    int PyExceptionInstance_Check(object)
    int enter_context "PyContext_Enter"(object) noexcept
    int leave_context "PyContext_Exit"(object) noexcept
    object PyContext_CopyCurrent()
    PyObject *call_one "PyObject_CallOneArg"(object, object)
    object PyLong_FromVoidPtr(void *)
    object PyObject_CallNoArgs(object)
    Py_hash_t PyObject_Hash(object) except? -1
    unsigned long thread_ident "PyThread_get_thread_ident"() noexcept
    PyObject *PyTuple_GET_ITEM(object, Py_ssize_t)
    PyObject *PyException_GetTraceback(object)
    void PyException_SetTraceback(object, object)
    Py_ssize_t PY_SSIZE_T_MAX

    ctypedef int (*inquiry)(PyObject *) noexcept
    ctypedef int (*traverseproc)(PyObject *, visitproc, void *) noexcept
    ctypedef PyObject *(*iternextfunc)(PyObject *) noexcept
    ctypedef object (*vectorcallfunc)(PyObject *, PyObject *const *, size_t, PyObject *)
    Py_ssize_t PyVectorcall_NARGS(size_t)
    ctypedef object (*ternaryfunc)(PyObject *, PyObject *, PyObject *)

    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT

    ctypedef PySendResult (*sendfunc)(PyObject *, PyObject *, PyObject **) noexcept

    ctypedef struct PyAsyncMethods:
        sendfunc am_send

    ctypedef PyObject *(*PyCFunction)(PyObject *, PyObject *) noexcept

    ctypedef struct PyMethodDef:
        const char *ml_name
        PyCFunction ml_meth
        int ml_flags
        const char *ml_doc

    int METH_O, METH_VARARGS

cdef extern from "_native/native.h":
    const bint NATIVE_CLOCK "MICROBATCH_NATIVE_CLOCK"
    double monotonic "microbatch_monotonic"() noexcept nogil
    PyObject *loop_mark "microbatch_loop_mark"() noexcept
    PyObject *current_context "microbatch_context"() noexcept
    void stop_iteration "microbatch_stop_iteration"(object) noexcept
    void set_vectorcall "microbatch_set_vectorcall"(object, Py_ssize_t)
    bint wakes_task "microbatch_wakes_task"(object) noexcept
    void set_await "microbatch_set_await"(object, iternextfunc, sendfunc)
    int set_method "microbatch_set_method"(object, PyMethodDef *) except -1
    int set_like_base "microbatch_set_like_base"(object) except -1
    void raise_given "microbatch_raise"(object, object, object) noexcept
    void set_call "microbatch_set_call"(object, ternaryfunc)
    object new_like "microbatch_new_like"(object)
    int timer_open "microbatch_timer_open"() noexcept
    void timer_set "microbatch_timer_set"(int, double) noexcept
    void timer_close "microbatch_timer_close"(int) noexcept
    traverseproc set_traverse "microbatch_set_traverse"(object, traverseproc)
    inquiry set_clear "microbatch_set_clear"(object, inquiry)
    int visit_one "microbatch_visit"(PyObject *, visitproc, void *) noexcept

cdef double INFINITY = float("inf")
# A loop may fire a timer one tick of its clock's resolution early.
cdef double RESOLUTION = 1e-9

cdef enum Overflow:
    WAIT
    REJECT
    DROP_OLDEST

cdef dict OVERFLOW = {"wait": WAIT, "reject": REJECT, "drop_oldest": DROP_OLDEST}
cdef object UNSET = ...               # what is not given

include "_native/loads.pxi"
include "_native/entries.pxi"
include "_native/tickets.pxi"
include "_native/calls.pxi"
include "_native/kept.pxi"
include "_native/arrivals.pxi"
include "_native/keys.pxi"
include "_native/sharing.pxi"
include "_native/batches.pxi"
include "_native/unsettled.pxi"
include "_native/settling.pxi"
include "_native/admission.pxi"
include "_native/asking.pxi"
include "_native/accepting.pxi"
include "_native/leaving.pxi"
include "_native/own_waits.pxi"
include "_native/histograms.pxi"
include "_native/scheduling.pxi"
include "_native/waking.pxi"
include "_native/lanes.pxi"
include "_native/submitters.pxi"
include "_native/timer.pxi"
