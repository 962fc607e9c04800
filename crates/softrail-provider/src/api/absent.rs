//! The functions of libibverbs that are not offered. They must exist, because programs
//! and rdma-core's own libraries do not start without them. They return `EOPNOTSUPP` in
//! the way that suits their signature.
//!
//! They take no arguments. A caller that passes some does not notice.
#![allow(non_upper_case_globals)]

use std::{
    ffi::{c_int, c_uint, c_void},
    sync::atomic::AtomicBool,
};

use crate::{fail, set_errno};

/// Functions that return the error number.
macro_rules! refusing {
    ($($name:ident),* $(,)?) => {$(
        #[unsafe(no_mangle)]
        pub extern "C" fn $name() -> c_int {
            set_errno(libc::EOPNOTSUPP);
            libc::EOPNOTSUPP
        }
    )*};
}

/// Functions that return an object or null.
macro_rules! giving_nothing {
    ($($name:ident),* $(,)?) => {$(
        #[unsafe(no_mangle)]
        pub extern "C" fn $name() -> *mut c_void {
            fail(libc::EOPNOTSUPP)
        }
    )*};
}

/// Functions that return nothing.
macro_rules! doing_nothing {
    ($($name:ident),* $(,)?) => {$(
        #[unsafe(no_mangle)]
        pub extern "C" fn $name() {
            set_errno(libc::EOPNOTSUPP);
        }
    )*};
}

// Datagrams, shared receive queues, multicast, connection options.
refusing! {
    execute_ioctl, ibv_attach_mcast, ibv_destroy_ah, ibv_destroy_srq,
    ibv_detach_mcast, ibv_init_ah_from_wc, ibv_modify_srq, ibv_query_ece,
    ibv_query_srq, ibv_rereg_mr, ibv_set_ece,
}

giving_nothing! {
    _verbs_init_and_alloc_context, ibv_create_ah, ibv_create_ah_from_wc,
    ibv_create_srq, ibv_import_device, ibv_import_dm, ibv_import_mr, ibv_import_pd,
    ibv_reg_dmabuf_mr, verbs_open_device,
}

doing_nothing! {
    __verbs_log, ibv_copy_ah_attr_from_kern, ibv_copy_path_rec_from_kern,
    ibv_copy_path_rec_to_kern, ibv_copy_qp_attr_from_kern, ibv_unimport_dm,
    ibv_unimport_mr, ibv_unimport_pd, verbs_init_cq, verbs_register_driver_34,
    verbs_set_ops, verbs_uninit_context,
}

// Functions through which drivers call the kernel. No driver of the system ever gets a
// device of this provider.
refusing! {
    ibv_cmd_advise_mr, ibv_cmd_alloc_dm, ibv_cmd_alloc_mw, ibv_cmd_alloc_pd,
    ibv_cmd_attach_mcast, ibv_cmd_close_xrcd, ibv_cmd_create_ah,
    ibv_cmd_create_counters, ibv_cmd_create_cq, ibv_cmd_create_cq_ex,
    ibv_cmd_create_flow, ibv_cmd_create_flow_action_esp, ibv_cmd_create_qp,
    ibv_cmd_create_qp_ex, ibv_cmd_create_qp_ex2, ibv_cmd_create_rwq_ind_table,
    ibv_cmd_create_srq, ibv_cmd_create_srq_ex, ibv_cmd_create_wq,
    ibv_cmd_dealloc_mw, ibv_cmd_dealloc_pd, ibv_cmd_dereg_mr, ibv_cmd_destroy_ah,
    ibv_cmd_destroy_counters, ibv_cmd_destroy_cq, ibv_cmd_destroy_flow,
    ibv_cmd_destroy_flow_action, ibv_cmd_destroy_qp, ibv_cmd_destroy_rwq_ind_table,
    ibv_cmd_destroy_srq, ibv_cmd_destroy_wq, ibv_cmd_detach_mcast, ibv_cmd_free_dm,
    ibv_cmd_get_context, ibv_cmd_modify_cq, ibv_cmd_modify_flow_action_esp,
    ibv_cmd_modify_qp, ibv_cmd_modify_qp_ex, ibv_cmd_modify_srq, ibv_cmd_modify_wq,
    ibv_cmd_open_qp, ibv_cmd_open_xrcd, ibv_cmd_poll_cq, ibv_cmd_post_recv,
    ibv_cmd_post_send, ibv_cmd_post_srq_recv, ibv_cmd_query_context,
    ibv_cmd_query_device_any, ibv_cmd_query_mr, ibv_cmd_query_port,
    ibv_cmd_query_qp, ibv_cmd_query_srq, ibv_cmd_read_counters, ibv_cmd_reg_dm_mr,
    ibv_cmd_reg_dmabuf_mr, ibv_cmd_reg_mr, ibv_cmd_req_notify_cq, ibv_cmd_rereg_mr,
    ibv_cmd_resize_cq,
}

/// Whether the bytes of an operation arrive in order: not guaranteed.
#[unsafe(no_mangle)]
pub extern "C" fn ibv_query_qp_data_in_order() -> c_int {
    0
}

/// How many attributes of a driver's command are for the kernel.
#[unsafe(no_mangle)]
pub extern "C" fn __ioctl_final_num_attrs() -> c_uint {
    0
}

/// Whether drivers may free objects of a device that was unplugged.
#[unsafe(no_mangle)]
pub static verbs_allow_disassociate_destroy: AtomicBool = AtomicBool::new(false);
