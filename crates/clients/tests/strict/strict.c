// What a program in C gets from a device that is as strict as a Mac's. Linked to nothing but
// libibverbs, as node `a` or `b` of a rig with one cable; prints a line for each answer.
#include <errno.h>
#include <infiniband/verbs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char memory[8192];

static struct ibv_qp* pair_of(struct ibv_pd* pd, struct ibv_cq* cq) {
  struct ibv_qp_init_attr wanted = {
      .send_cq = cq, .recv_cq = cq, .qp_type = IBV_QPT_UC,
      .cap = {.max_send_wr = 4, .max_recv_wr = 4, .max_send_sge = 1, .max_recv_sge = 1}};
  return ibv_create_qp(pd, &wanted);
}

// To the queue pair of the same number at the other end: both are the first of a new cable.
static void connect_to_other_end(struct ibv_context* context, struct ibv_qp* pair) {
  union ibv_gid other;
  ibv_query_gid(context, 1, 1, &other);
  other.raw[15] ^= 3;
  struct ibv_qp_attr to = {.qp_state = IBV_QPS_INIT, .port_num = 1,
      .qp_access_flags = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE};
  ibv_modify_qp(pair, &to, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
  to = (struct ibv_qp_attr){.qp_state = IBV_QPS_RTR, .path_mtu = IBV_MTU_4096,
      .dest_qp_num = pair->qp_num,
      .ah_attr = {.is_global = 1, .port_num = 1, .grh = {.dgid = other, .sgid_index = 1}}};
  ibv_modify_qp(pair, &to,
      IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN);
  to = (struct ibv_qp_attr){.qp_state = IBV_QPS_RTS};
  ibv_modify_qp(pair, &to, IBV_QP_STATE | IBV_QP_SQ_PSN);
}

static int post(struct ibv_qp* pair, struct ibv_mr* region, int sends, unsigned bytes) {
  struct ibv_sge entry = {.addr = (uintptr_t)memory, .length = bytes, .lkey = region->lkey};
  struct ibv_send_wr send = {.sg_list = &entry, .num_sge = 1, .opcode = IBV_WR_SEND,
      .send_flags = IBV_SEND_SIGNALED}, *bad_send;
  struct ibv_recv_wr receive = {.sg_list = &entry, .num_sge = 1}, *bad_receive;
  return sends ? ibv_post_send(pair, &send, &bad_send)
               : ibv_post_recv(pair, &receive, &bad_receive);
}

// The status of the next completion, or `nothing` after two seconds.
static const char* outcome(struct ibv_cq* cq) {
  struct ibv_wc completion;
  for (time_t begun = time(NULL); time(NULL) - begun < 3;)
    if (ibv_poll_cq(cq, 1, &completion) > 0)
      return ibv_wc_status_str(completion.status);
  return "nothing";
}

// The queue pairs that the device still has.
static int left(struct ibv_pd* pd, struct ibv_cq* cq) {
  int made = 0;
  while (pair_of(pd, cq)) made++;
  return made;
}

int main(int count, char** words) {
  int devices, sends = atoi(getenv("RIG_RANK")) == 0;
  struct ibv_context* context = ibv_open_device(ibv_get_device_list(&devices)[0]);
  struct ibv_pd* pd = ibv_alloc_pd(context);
  struct ibv_cq* cq = ibv_create_cq(context, 64, NULL, NULL, 0);
  struct ibv_mr* region = ibv_reg_mr(pd, memory, sizeof memory,
      IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE);
  struct ibv_qp* pair = pair_of(pd, cq);
  if (count == 2 && !strcmp(words[1], "pairs")) {
    int made = 1 + left(pd, cq);
    printf("%d queue pairs, then errno %d\n", made, errno);
  } else if (count == 2 && !strcmp(words[1], "frames")) {
    connect_to_other_end(context, pair);
    int refused = post(pair, region, sends, sends ? 4096 : 8192);
    printf("%s %d: %s\n", sends ? "send" : "receive", refused, outcome(cq));
  } else if (count == 2 && !strcmp(words[1], "first")) {
    connect_to_other_end(context, pair);
    int refused = post(pair, region, 1, 4096);
    printf("send %d: %s\n", refused, outcome(cq));
    refused = post(pair, region, 0, 4096);
    printf("receive %d: %s", refused, outcome(cq));
    printf(" and %s\n", outcome(cq));
  } else if (count == 2 && !strcmp(words[1], "fork")) {
    connect_to_other_end(context, pair);
    pid_t child = fork();
    if (!child) {
      // As destructors of static objects do when a child exits.
      int errors = ibv_destroy_qp(pair) | ibv_dereg_mr(region) | ibv_destroy_cq(cq) |
          ibv_dealloc_pd(pd) | ibv_close_device(context);
      _exit(errors);
    }
    int status;
    waitpid(child, &status, 0);
    int refused = post(pair, region, sends, 4096);
    printf("child %d, %s %d: %s, %d left\n", status, sends ? "send" : "receive", refused,
        outcome(cq), left(pd, cq));
  } else {
    return 2;
  }
}
