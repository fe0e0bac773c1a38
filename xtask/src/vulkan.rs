//! A device for the GPU tests: the machine's own, or Mesa's software driver.

use std::process::{Command, ExitCode, Stdio};

use crate::apt;

/// Hidden command that asks the Vulkan loader for devices. It runs in a process of its own,
/// because a broken driver may take its process down and a loader installed meanwhile must be seen.
pub(crate) const PROBE: &str = "probe-vulkan";

const PACKAGES: [&str; 2] = ["mesa-vulkan-drivers", "libvulkan1"];

/// Whether the GPU tests can run; where no adapter exists, tries to install a software one.
pub(crate) fn ensure_adapter() -> bool {
    if has_adapter() {
        return true;
    }
    eprintln!("xtask: no Vulkan adapter here; bringing up Mesa's software driver");
    let reason = match apt::install(&PACKAGES) {
        Ok(()) if has_adapter() => return true,
        Ok(()) => "the driver was installed, but offers no adapter".to_string(),
        Err(reason) => reason,
    };
    eprintln!(
        "xtask: no GPU test can run here: {reason}\n\
         hint: install a Vulkan driver and loader (Debian, Ubuntu: apt-get install {}; \
         Fedora: dnf install mesa-vulkan-drivers vulkan-loader; Arch: pacman -S vulkan-swrast \
         vulkan-icd-loader) and run again. Until then those tests are reported as ignored.",
        PACKAGES.join(" ")
    );
    false
}

/// Metal and DX12 come with their systems; elsewhere the Vulkan loader is asked.
fn has_adapter() -> bool {
    if cfg!(any(target_vendor = "apple", windows)) {
        return true;
    }
    let Ok(program) = std::env::current_exe() else {
        return false;
    };
    Command::new(program)
        .arg(PROBE)
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Exit status 0 if the Vulkan loader exists and finds a device.
pub(crate) fn probe() -> ExitCode {
    match loader::devices() {
        0 => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

#[cfg(not(unix))]
mod loader {
    pub(super) fn devices() -> u32 {
        0
    }
}

/// The three Vulkan calls that count devices, loaded at run time as wgpu does.
#[cfg(unix)]
mod loader {
    use std::ffi::{CStr, c_char, c_int, c_void};
    use std::ptr::{null, null_mut};

    unsafe extern "C" {
        fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
        fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    }

    const RTLD_NOW: c_int = 2;
    const STRUCTURE_TYPE_INSTANCE_CREATE_INFO: u32 = 1;

    /// VkInstanceCreateInfo.
    #[repr(C)]
    struct InstanceCreateInfo {
        structure_type: u32,
        next: *const c_void,
        flags: u32,
        application: *const c_void,
        layer_count: u32,
        layers: *const *const c_char,
        extension_count: u32,
        extensions: *const *const c_char,
    }

    type CreateInstance = unsafe extern "system" fn(
        *const InstanceCreateInfo,
        *const c_void,
        *mut *mut c_void,
    ) -> i32;
    type EnumeratePhysicalDevices =
        unsafe extern "system" fn(*mut c_void, *mut u32, *mut *mut c_void) -> i32;

    pub(super) fn devices() -> u32 {
        count().unwrap_or(0)
    }

    fn count() -> Option<u32> {
        let create = symbol(c"vkCreateInstance")?;
        let enumerate = symbol(c"vkEnumeratePhysicalDevices")?;
        let info = InstanceCreateInfo {
            structure_type: STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
            next: null(),
            flags: 0,
            application: null(),
            layer_count: 0,
            layers: null(),
            extension_count: 0,
            extensions: null(),
        };
        let mut instance = null_mut();
        let mut devices = 0;
        // SAFETY: the loader exports both functions with these signatures (Vulkan 1.0), `info` is a
        // valid VkInstanceCreateInfo without layers or extensions, and the pointers live through
        // the calls. A null device array asks for the count alone. The process ends right after,
        // so that nothing has to be destroyed.
        unsafe {
            let create = std::mem::transmute::<*mut c_void, CreateInstance>(create);
            let enumerate = std::mem::transmute::<*mut c_void, EnumeratePhysicalDevices>(enumerate);
            if create(&info, null(), &mut instance) != 0 {
                return None;
            }
            (enumerate(instance, &mut devices, null_mut()) == 0).then_some(devices)
        }
    }

    fn symbol(name: &CStr) -> Option<*mut c_void> {
        // SAFETY: both strings end in NUL; the library is never closed.
        let address = unsafe {
            let library = dlopen(c"libvulkan.so.1".as_ptr(), RTLD_NOW);
            if library.is_null() {
                return None;
            }
            dlsym(library, name.as_ptr())
        };
        (!address.is_null()).then_some(address)
    }
}
