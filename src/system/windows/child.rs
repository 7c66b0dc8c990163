//! Child processes in a job, which ends all of them together.
#![expect(unsafe_code, reason = "calls of the Windows API without a safe wrapper in std")]

use std::io;
use std::mem::zeroed;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::os::windows::process::CommandExt as _;
use std::process::{Child, Command};
use std::ptr::null;

use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK, JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation,
    SetInformationJobObject, TerminateJobObject,
};
use windows_sys::Win32::System::Threading::{
    CREATE_NEW_PROCESS_GROUP, CREATE_SUSPENDED, OpenThread, ResumeThread, THREAD_SUSPEND_RESUME,
};

use super::handle::check;

/// A job: a set of processes that end when the job is closed, also if ycred is killed.
pub struct Job(OwnedHandle);

impl Job {
    /// Creates an empty job. With `children_may_leave`, the processes that its processes start do not belong to it.
    ///
    /// # Errors
    /// Those of `CreateJobObjectW`.
    pub fn new(children_may_leave: bool) -> io::Result<Self> {
        // SAFETY: the job belongs to the `OwnedHandle`. The struct is plain data of the stated size.
        unsafe {
            let job = CreateJobObjectW(null(), null());
            if job.is_null() {
                return Err(io::Error::last_os_error());
            }
            let job = OwnedHandle::from_raw_handle(job);
            let mut limits: JOBOBJECT_EXTENDED_LIMIT_INFORMATION = zeroed();
            limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
            if children_may_leave {
                limits.BasicLimitInformation.LimitFlags |= JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK;
            }
            let size = u32::try_from(size_of_val(&limits)).unwrap_or(0);
            let class = JobObjectExtendedLimitInformation;
            check(SetInformationJobObject(job.as_raw_handle(), class, (&raw const limits).cast(), size))?;
            Ok(Self(job))
        }
    }

    /// Makes a child a member of the job.
    ///
    /// # Errors
    /// Those of `AssignProcessToJobObject`.
    pub fn add(&self, child: &Child) -> io::Result<()> {
        // SAFETY: both handles are open.
        check(unsafe { AssignProcessToJobObject(self.0.as_raw_handle(), child.as_raw_handle()) })
    }

    /// Ends all processes of the job.
    pub fn kill(&self) {
        // SAFETY: the handle is open. The call fails only without the right, which the creator of a job has.
        unsafe { TerminateJobObject(self.0.as_raw_handle(), 1) };
    }
}

/// Starts a program in a job and a console process group of its own.
///
/// The program is suspended until it belongs to the job. Otherwise it could start a process outside the job.
///
/// # Errors
/// The program cannot be started.
pub fn spawn_in_job(command: &mut Command) -> io::Result<(Child, Option<Job>)> {
    let child = command.creation_flags(CREATE_NEW_PROCESS_GROUP | CREATE_SUSPENDED).spawn()?;
    // Without a job, which a sandbox may forbid, the program still runs; ycred then ends only the program itself.
    let job = Job::new(false).and_then(|job| job.add(&child).map(|()| job)).ok();
    resume(child.id())?;
    Ok((child, job))
}

/// Resumes the threads of a process that was started suspended: one.
fn resume(process: u32) -> io::Result<()> {
    // SAFETY: the snapshot and the thread belong to `OwnedHandle`s. The struct is plain data and has its size set.
    unsafe {
        let snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
        if snapshot == INVALID_HANDLE_VALUE {
            return Err(io::Error::last_os_error());
        }
        let snapshot = OwnedHandle::from_raw_handle(snapshot);
        let mut entry: THREADENTRY32 = zeroed();
        entry.dwSize = u32::try_from(size_of::<THREADENTRY32>()).unwrap_or(0);
        let mut more = Thread32First(snapshot.as_raw_handle(), &raw mut entry);
        while more != 0 {
            if entry.th32OwnerProcessID == process {
                let thread = OpenThread(THREAD_SUSPEND_RESUME, 0, entry.th32ThreadID);
                if !thread.is_null() {
                    let thread = OwnedHandle::from_raw_handle(thread);
                    ResumeThread(thread.as_raw_handle());
                }
            }
            more = Thread32Next(snapshot.as_raw_handle(), &raw mut entry);
        }
        Ok(())
    }
}
